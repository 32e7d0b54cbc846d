"""The streaming server: source, producer, stream, viewers, and the page that shows what arrives (`avsync serve`)."""
