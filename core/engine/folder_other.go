//go:build !unix

package engine

// closeFolder does nothing: outside Unix a folder's rights are not in its mode.
func closeFolder(string) error { return nil }
