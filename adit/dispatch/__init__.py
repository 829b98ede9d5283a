"""What may start now and what an ending means: pure decisions, one port, one loop around them."""
