package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"errors"
	"html/template"
	"net/http"
	"strconv"

	"github.com/kelpie-sec/kelpie/core/link"
	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/sdk"
)

//go:embed page.html style.css
var files embed.FS

var (
	style  = file("style.css")
	layout = template.Must(template.New("page").Parse("{{define \"style\"}}<style>" + style + "</style>{{end}}" + file("page.html")))
	// policy lets the page use its own style and send its form home, and nothing else.
	policy = "default-src 'none'; style-src 'sha256-" + styleHash() + "'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

func file(name string) string {
	text, err := files.ReadFile(name)
	if err != nil {
		panic(err) // it is embedded
	}
	return string(text)
}

func styleHash() string {
	sum := sha256.Sum256([]byte(style))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// pageView is what the template shows. Texts in it are safe to look at, and nothing more.
type pageView struct {
	// Title and Text are of a page without questions.
	Title, Text string
	Reader      string // whose page it is
	Digest      bool
	Open        int // questions that can be answered
	Questions   []questionView
}

// render shows questions. code is OK where they themselves say how it is.
func (p *Page) render(w http.ResponseWriter, r *http.Request, c link.Claim, all []asked, g given, code int) {
	v := pageView{Title: "Kelpie asks you", Reader: sdk.Visible(c.Address), Digest: c.Kind == link.Digest}
	for i := range all {
		a := &all[i]
		q := questionView{ID: a.ID}
		if !a.answerable() {
			q.Status = statusOf(a)
			v.Questions = append(v.Questions, q)
			continue
		}
		n, err := p.Questions.Told(r.Context(), a.reader.Intent)
		if err != nil && !errors.Is(err, ErrNone) {
			p.tell(w, r, p.failed(err))
			return
		}
		chosen := given{}
		if g.question == a.ID || g.question == "" && !v.Digest {
			chosen = g
		}
		q.fill(a, n, chosen, p.Now())
		v.Open++
		v.Questions = append(v.Questions, q)
	}
	if v.Open == 0 {
		v.Title = "Nothing to answer"
		if len(all) == 1 {
			v.Title = v.Questions[0].Status.Head
			if code == http.StatusOK && gone(all[0].State) {
				code = http.StatusGone
			}
		}
	}
	p.write(w, r, code, v)
}

// gone tells whether a question ended without an answer.
func gone(s model.QuestionState) bool {
	return s == model.QuestionTimedOut || s == model.QuestionFailed || s == model.QuestionWithdrawn
}

func (p *Page) write(w http.ResponseWriter, r *http.Request, code int, v pageView) {
	var text bytes.Buffer
	if err := layout.ExecuteTemplate(&text, "page", v); err != nil {
		p.Logger.Error("the answer page can't be made", "error", err)
		http.Error(w, "This can't be shown now.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(text.Len()))
	w.WriteHeader(code)
	if r.Method != http.MethodHead {
		_, _ = w.Write(text.Bytes()) // who has gone needs it no more
	}
}
