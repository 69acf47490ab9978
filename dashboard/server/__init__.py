"""What is served: the application, its access control, files, downloads and thumbnails."""
