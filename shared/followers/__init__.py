"""What follows a run folder and tells somebody: alerts and the webhook."""
