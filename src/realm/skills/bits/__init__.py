"""Binary arithmetic: its operations, their problems, which are held back, and how they are written."""
