"""What servers and clients share: limits on what is sent, taken and waited for."""
