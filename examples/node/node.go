// Package node holds a plugin in JavaScript, which is an example and what
// "kelpie plugin new --lang node" writes under another name.
package node

import (
	"embed"
	"io/fs"
)

//go:embed README.md .gitignore package.json package-lock.json contract.json
//go:embed main.js client.js detector.js enrichment.js action.js far.js
//go:embed kelpie.js configured.js session.js schema.js error.js elements.js
//go:embed detector.test.js enrichment.test.js action.test.js client.test.js schema.test.js
var files embed.FS

// Files are those of the plugin, without what it takes to make contract.json anew.
func Files() fs.FS { return files }
