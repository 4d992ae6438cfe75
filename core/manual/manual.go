// Package manual writes the pages that are made from what the programs say of
// themselves: the reference of the configuration, what expressions can read and call,
// and a page for each plugin. All are Markdown.
package manual
