"""The bucket node on a real S3 server."""
