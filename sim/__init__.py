"""The lab: a network, generators and viewers in virtual time, and the truth about them."""
