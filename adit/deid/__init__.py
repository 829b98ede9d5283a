"""What happens to one instance between its source and its destination. Nothing here decodes pixels."""
