"""Every private part of Paddle that is leaned on, named once."""
