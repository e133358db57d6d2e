package store

// Replace writes a file of mode 0600 so that a crash leaves the old one or the new
// one, and the new one is on disk when it returns.
func Replace(path string, b []byte) error { return replace(path, string(b)) }
