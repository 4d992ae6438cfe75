package release

import (
	"errors"

	"github.com/hashicorp/go-version"
)

// Constraint says which versions will do.
type Constraint struct {
	text string
	all  version.Constraints
}

// ParseConstraint reads a constraint as Terraform has it, such as "~> 1.4". An empty one
// takes every version that is no pre-release.
func ParseConstraint(text string) (Constraint, error) {
	c := Constraint{text: text}
	if text == "" {
		return c, nil
	}
	var err error
	if c.all, err = version.NewConstraint(text); err != nil {
		return c, errors.New("that is no constraint of versions")
	}
	return c, nil
}

func (c Constraint) String() string { return c.text }

// Allows tells whether a version will do. A pre-release does only where the constraint
// names one.
func (c Constraint) Allows(v string) bool {
	parsed, err := version.NewSemver(v)
	if err != nil {
		return false
	}
	if len(c.all) == 0 {
		return parsed.Prerelease() == ""
	}
	return c.all.Check(parsed)
}

// Compare tells which of two versions is older: -1 if a is, 0 if neither is.
func Compare(a, b string) int {
	x, errX := version.NewSemver(a)
	y, errY := version.NewSemver(b)
	if errX != nil || errY != nil {
		return 0
	}
	return x.Compare(y)
}

// Newest of the versions that will do; empty: there is none.
func (c Constraint) Newest(versions []string) string {
	newest := ""
	for _, v := range versions {
		if c.Allows(v) && (newest == "" || Compare(newest, v) < 0) {
			newest = v
		}
	}
	return newest
}
