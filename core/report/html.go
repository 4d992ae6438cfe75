package report

import (
	_ "embed"
	"html/template"
	"io"
)

//go:embed page.html
var page string

// HTML writes a report as one page that needs nothing else: no script, no picture, no
// style from elsewhere.
func HTML(w io.Writer, r *Report) error {
	t, err := template.New("page").Funcs(template.FuncMap{"plain": plain}).Parse(page)
	if err != nil {
		return err
	}
	return t.Execute(w, r)
}
