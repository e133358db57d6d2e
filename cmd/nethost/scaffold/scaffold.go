// Package scaffold holds the templates of `nethost module new`, by language.
package scaffold

import "embed"

// Files are the templates: those of every project, and a folder for each language.
//
//go:embed *.tmpl go c rust assemblyscript python
var Files embed.FS
