"""What runs on the device: capture, tracking, output, installation. Opens no outgoing socket."""
