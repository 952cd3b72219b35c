"""What musterd knows and how it decides: values in, values out."""
