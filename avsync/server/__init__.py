"""The streaming server: producer, pacer, consumer, and the page that shows what arrives (`avsync serve`)."""
