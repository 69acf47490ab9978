"""The `darkroom` command of an installation. In the wheel, every other folder of the repository lies in this one."""
