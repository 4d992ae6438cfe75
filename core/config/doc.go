// Package config reads the configuration: HCL in, the rooms' own settings out.
//
//   - Load reads files, environment and schemas into a Source, which holds all
//     that the configuration depends on, except secrets.
//   - Parse makes a Config of a Source. It is pure: the same Source gives the same
//     Config, for ever, so that a Source can be kept in a log and decided with again.
//   - Config.Resolve puts the secrets in, and gives what the plugins are told.
//
// Every complaint is an hcl.Diagnostic with a place; WriteText and WriteJSON print
// them, and hide what might be a secret.
package config
