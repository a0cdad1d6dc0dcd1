"""BlazePose, detector and landmarks, running as MediaPipe's own does."""
