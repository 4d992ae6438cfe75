// Package storytest is one story from beginning to end with real parts: an alert, the
// mail that asks about it through Postfix, read over IMAP from Dovecot, the link in it, the
// decision, what is done, held and undone in time, what the case turned out to be, and what
// becomes of the next alert of the same kind. Nothing in it is a fake but the vendor that
// contains (faulttest/contain).
//
//	make story     installs Postfix and Dovecot where they are missing, and runs it
//
// Without them, or without being root, which Postfix wants, it is skipped.
package storytest
