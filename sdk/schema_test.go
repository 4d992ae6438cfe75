package sdk

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"pgregory.net/rapid"
)

type sampleCommon struct {
	URL   string `kelpie:"url,required" doc:"Where the API is." example:"https://cb.example.org"`
	Token string `kelpie:"token,secret,required" doc:"Its token."`
}

type sampleTLS struct {
	CAFile string `kelpie:"ca_file"`
	Verify bool   `kelpie:"verify" default:"true"`
}

type sampleField struct {
	Name string `kelpie:"name,required"`
	Keys []int  `kelpie:"keys" default:"[1,2]"`
}

// sample has every kind of field.
type sample struct {
	sampleCommon
	Format  string                   `kelpie:"format" default:"json" oneof:"json,text"`
	Tags    []string                 `kelpie:"tags" oneof:"a,b" example:"[\"a\"]"`
	Every   time.Duration            `kelpie:"every" default:"7d" example:"1d12h"`
	Count   int                      `kelpie:"count" default:"3" renamed_from:"number"`
	Small   int8                     `kelpie:"small"`
	Port    uint16                   `kelpie:"port"`
	Ratio   float64                  `kelpie:"ratio" default:"0.5"`
	Follow  bool                     `kelpie:"follow" deprecated:"it always follows"`
	Limit   *int                     `kelpie:"most"`
	Waits   map[string]time.Duration `kelpie:"waits"`
	Any     any                      `kelpie:"any"`
	Files   []Path                   `kelpie:"files" default:"[\"a/*.json\"]"`
	TLS     sampleTLS                `kelpie:"tls"`
	Proxy   *sampleTLS               `kelpie:"proxy"`
	Fields  []sampleField            `kelpie:"field" doc:"What to read."`
	Routes  map[string]*sampleField  `kelpie:"route"`
	Skipped int
	own     int
}

func TestSchema(t *testing.T) {
	schema, err := Schema(&sample{own: 1})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := protojson.Marshal(schema)
	if err != nil {
		t.Fatal(err)
	}
	var tree any // protojson varies its spaces on purpose
	if err := json.Unmarshal(raw, &tree); err != nil {
		t.Fatal(err)
	}
	got, err := json.MarshalIndent(tree, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/schema.json", append(got, '\n'))
}

// golden compares with a file, which KELPIE_GOLDEN=write makes anew.
func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if os.Getenv("KELPIE_GOLDEN") == "write" {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func TestSchemaErrors(t *testing.T) {
	type loop struct {
		Inner []struct {
			Again map[string]*sampleLoop `kelpie:"again"`
		} `kelpie:"inner"`
	}
	for want, config := range map[string]any{
		"must be a pointer to a struct": struct{}{},
		"holds itself":                  &loop{},
		"cannot be set": &struct {
			a int `kelpie:"a"` //nolint:govet // the complaint is tested
		}{},
		`"Path" is no name`: &struct {
			A int `kelpie:"Path"`
		}{},
		`"" is no name`: &struct {
			A int `kelpie:",required"`
		}{},
		`not "requierd"`: &struct {
			A int `kelpie:"a,requierd"`
		}{},
		`two fields named "a"`: &struct {
			A int `kelpie:"a"`
			B int `kelpie:"b" renamed_from:"a"`
		}{},
		"cannot be a chan int": &struct {
			A chan int `kelpie:"a"`
		}{},
		"cannot be a map[int]string": &struct {
			A map[int]string `kelpie:"a"`
		}{},
		"cannot be a error": &struct {
			A error `kelpie:"a"`
		}{},
		"without a kelpie tag in it": &struct {
			A time.Time `kelpie:"a"`
		}{},
		"only text can be secret": &struct {
			A int `kelpie:"a,secret"`
		}{},
		"a block cannot be secret": &struct {
			A sampleTLS `kelpie:"a,secret"`
		}{},
		"a block takes no default": &struct {
			A sampleTLS `kelpie:"a" default:"{}"`
		}{},
		"has no default": &struct {
			A int `kelpie:"a,required" default:"1"`
		}{},
		"default: ": &struct {
			A time.Duration `kelpie:"a" default:"10"`
		}{},
		"must be a whole number": &struct {
			A int `kelpie:"a" default:"1.5"`
		}{},
		`must be one of "x", "y"`: &struct {
			A string `kelpie:"a" default:"z" oneof:"x,y"`
		}{},
		"oneof is for text": &struct {
			A int `kelpie:"a" oneof:"1,2"`
		}{},
		"example: ": &struct {
			A []string `kelpie:"a" example:"x"`
		}{},
	} {
		t.Run(want, func(t *testing.T) {
			_, err := Schema(config)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("Schema: %v, want %q", err, want)
			}
			if got := Decode([]byte(`{}`), config); len(got) != 1 || !strings.Contains(got[0].Detail, want) {
				t.Errorf("Decode: %v, want %q", got, want)
			}
		})
	}
}

type sampleLoop struct {
	Again []sampleLoop `kelpie:"again"`
}

func TestDecode(t *testing.T) {
	got := sample{Skipped: 7, Small: 5, Proxy: &sampleTLS{}}
	diagnostics := Decode([]byte(`{
		"url": "https://x", "token": "t", "tags": ["a","b"], "every": "1d12h", "number": 4e0, "port": 65535,
		"follow": true, "most": 0, "waits": {"a":"1s"}, "any": [1, 2.5, {"x":null}, 9007199254740993],
		"field": [{"name":"n","keys":[]},{"name":"m"}], "route": {"east": {"name":"e"}}, "format": null
	}`), &got)
	zero := 0
	want := sample{
		sampleCommon: sampleCommon{URL: "https://x", Token: "t"},
		Format:       "json", Tags: []string{"a", "b"}, Every: 36 * time.Hour, Count: 4, Port: 65535, Ratio: 0.5,
		Follow: true, Limit: &zero, Waits: map[string]time.Duration{"a": time.Second},
		Any:   []any{int64(1), 2.5, map[string]any{"x": nil}, int64(9007199254740993)},
		Files: []Path{"a/*.json"}, TLS: sampleTLS{Verify: true}, Fields: []sampleField{{Name: "n", Keys: []int{}}, {Name: "m", Keys: []int{1, 2}}},
		Routes: map[string]*sampleField{"east": {Name: "e", Keys: []int{1, 2}}}, Skipped: 7,
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(sample{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var summaries []string
	for _, d := range diagnostics {
		summaries = append(summaries, fmt.Sprintf("%v%v %v", d.Path, d.Warning, d))
	}
	wantSummaries := []string{`[number]true "number" is now "count"`, `[follow]true "follow" is deprecated: it always follows`}
	if diff := cmp.Diff(wantSummaries, summaries); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}

func TestDecodeComplaints(t *testing.T) {
	const rest = `"url":"u","token":"t",`
	for _, c := range []struct{ config, path, want string }{
		{`[1]`, "", "must be a JSON object, not a list"},
		{`{"url":"u"`, "", "is no JSON"},
		{`{"url":"u","url":"u"}`, "", `"url" comes twice`},
		{`{"url":"u"}`, "token", `the attribute "token" is missing`},
		{`{"url":"u","token":null}`, "token", `the attribute "token" is missing`},
		{`{` + rest + `"pathh":1}`, "pathh", `no attribute or block "pathh"`},
		{`{` + rest + `"tls":{"x":1}}`, "tls.x", `no attribute or block "x"`},
		{`{` + rest + `"tls":1}`, "tls", `must be a block, not a number`},
		{`{` + rest + `"field":{}}`, "field", `must be a list of blocks, not an object`},
		{`{` + rest + `"field":[{"name":"a"},{}]}`, "field.1.name", `"name" is missing`},
		{`{` + rest + `"field":[{"name":"a","keys":[1,"x"]}]}`, "field.0.keys.1", `must be a whole number, not text`},
		{`{` + rest + `"route":{"east":{}}}`, "route.east.name", `"name" is missing`},
		{`{` + rest + `"route":[]}`, "route", `blocks with a label each`},
		{`{` + rest + `"count":1.5}`, "count", `whole number`},
		{`{` + rest + `"count":"1"}`, "count", `must be a whole number, not text`},
		{`{` + rest + `"count":1,"number":2}`, "number", `the older name`},
		{`{` + rest + `"small":128}`, "small", `cannot be 128`},
		{`{` + rest + `"port":-1}`, "port", `cannot be -1`},
		{`{` + rest + `"port":1e400}`, "port", `too large`},
		{`{` + rest + `"ratio":1e400}`, "ratio", `too large`},
		{`{` + rest + `"every":"fast"}`, "every", `"fast" is no duration`},
		{`{` + rest + `"every":10}`, "every", `must be a duration such as "10s", not a number`},
		{`{` + rest + `"format":"xml"}`, "format", `must be one of "json", "text"`},
		{`{` + rest + `"tags":["c"]}`, "tags.0", `must be one of "a", "b"`},
		{`{` + rest + `"tags":[null]}`, "tags.0", `must be text, not null`},
		{`{` + rest + `"waits":{"x":"-1s"}}`, "waits.x", `no duration`},
		{`{` + rest + `"files":[1]}`, "files.0", `must be a path, not a number`},
		{`{` + rest + `"any":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`, "", `too deep`},
	} {
		t.Run(c.path+" "+c.want, func(t *testing.T) {
			got := Decode([]byte(c.config), &sample{})
			if len(got) != 1 || strings.Join(got[0].Path, ".") != c.path || !strings.Contains(got[0].Error(), c.want) || got[0].Warning {
				t.Errorf("%s\ngot %+v\nwant %s: %s", c.config, got, c.path, c.want)
			}
		})
	}
}

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"10s": 10 * time.Second, "7d": 7 * 24 * time.Hour, "1d12h": 36 * time.Hour, "0s": 0, "1.5h": 90 * time.Minute,
		"106751d": 106751 * 24 * time.Hour,
	} {
		if got, err := ParseDuration(text); err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "10", "-1s", "+1s", "1d-1h", "d", "-1d", "106752d", "106751d24h", "1w", "1.5d", "7d ", "1e3s"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("ParseDuration(%q) = %v, want an error", text, got)
		}
	}
}

// anyStruct draws a config struct's type and the JSON of a good value for it.
func anyStruct(t *rapid.T, depth int) (reflect.Type, map[string]any) {
	n := rapid.IntRange(1, 4).Draw(t, "fields")
	fields, tree := []reflect.StructField{}, map[string]any{}
	for i := range n {
		name := fmt.Sprintf("f%d", i)
		typ, value := anyField(t, depth)
		tag := "kelpie:\"" + name
		if rapid.Bool().Draw(t, "required") {
			tag += ",required"
			tree[name] = value
		} else if rapid.Bool().Draw(t, "given") {
			tree[name] = value
		}
		fields = append(fields, reflect.StructField{
			Name: fmt.Sprintf("F%d", i), Type: typ, Tag: reflect.StructTag(tag + "\""),
		})
	}
	return reflect.StructOf(fields), tree
}

func anyField(t *rapid.T, depth int) (reflect.Type, any) {
	most := 7
	if depth > 0 {
		most = 10
	}
	switch rapid.IntRange(0, most).Draw(t, "kind") {
	case 0:
		return reflect.TypeFor[string](), rapid.String().Draw(t, "text")
	case 1:
		return reflect.TypeFor[bool](), rapid.Bool().Draw(t, "truth")
	case 2:
		return reflect.TypeFor[int64](), rapid.Int64().Draw(t, "int")
	case 3:
		return reflect.TypeFor[uint8](), rapid.Uint8().Draw(t, "byte")
	case 4:
		return reflect.TypeFor[float64](), rapid.Float64Range(-1e9, 1e9).Draw(t, "float")
	case 5:
		seconds := rapid.Int64Range(0, math.MaxInt64/int64(time.Second)).Draw(t, "seconds")
		return durationType, fmt.Sprintf("%ds", seconds)
	case 6:
		return reflect.TypeFor[[]string](), rapid.SliceOf(rapid.String()).Draw(t, "texts")
	case 7:
		return reflect.TypeFor[map[string]int](), rapid.MapOf(rapid.String(), rapid.Int()).Draw(t, "ints")
	case 8:
		typ, tree := anyStruct(t, depth-1)
		return typ, tree
	case 9:
		typ, tree := anyStruct(t, depth-1)
		return reflect.SliceOf(typ), []any{tree}
	default:
		typ, tree := anyStruct(t, depth-1)
		return reflect.MapOf(reflect.TypeFor[string](), reflect.PointerTo(typ)), map[string]any{"label": tree}
	}
}

// What the schema promises, decode takes; what it does not, decode refuses at its path.
func TestSchemaAndDecodeAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		typ, tree := anyStruct(t, 2)
		config := reflect.New(typ).Interface()
		schema, err := Schema(config)
		if err != nil {
			t.Fatal(err)
		}
		data, err := json.Marshal(tree)
		if err != nil {
			t.Fatal(err)
		}
		if got := Decode(data, config); len(got) > 0 {
			t.Fatalf("%s does not fit %v: %v", data, typ, got)
		}
		var names []string
		for _, a := range schema.GetAttributes() {
			names = append(names, a.GetName())
			_, given := tree[a.GetName()]
			if a.GetRequired() && !given {
				t.Fatalf("%q is required and was not needed", a.GetName())
			}
		}
		for _, b := range schema.GetBlocks() {
			names = append(names, b.GetName())
		}
		for name := range tree {
			if !slices.Contains(names, name) {
				t.Fatalf("%q is not in the schema", name)
			}
		}
		// A struct made from the decoded value encodes to what was given.
		for i := range typ.NumField() {
			name := fmt.Sprintf("f%d", i)
			want, given := tree[name].(string)
			if got := reflect.ValueOf(config).Elem().Field(i); given && got.Kind() == reflect.String && got.String() != want {
				t.Fatalf("%s is %q, want %q", name, got, want)
			}
		}

		spoilt := rapid.SampledFrom(names).Draw(t, "spoilt")
		tree["stranger"] = 1
		tree[spoilt] = []any{[]any{nil}}
		if data, err = json.Marshal(tree); err != nil {
			t.Fatal(err)
		}
		var paths []string
		for _, d := range Decode(data, config) {
			paths = append(paths, d.Path[0])
		}
		if !slices.Contains(paths, "stranger") || !slices.Contains(paths, spoilt) {
			t.Fatalf("complaints at %v, want stranger and %s", paths, spoilt)
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"url":"u","token":"t","field":[{"name":"n"}],"any":{"a":[1]}}`))
	f.Add([]byte(`{"every":"106751d23h","count":1e18,"port":-0}`))
	f.Add([]byte("{\"url\":\"\xff\"}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var into sample
		_ = Decode(data, &into)
		if value, err := parseJSON(data); err == nil {
			if !json.Valid(data) {
				t.Errorf("%q is no JSON and was read as %v", data, value)
			}
			again, err := json.Marshal(value)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := parseJSON(again); err != nil {
				t.Errorf("%q reads, but %q does not: %v", data, again, err)
			}
		}
	})
}

func FuzzParseDuration(f *testing.F) {
	for _, seed := range []string{"7d", "1d12h", "1e9h", "9223372036s", "106751d23h47m16s"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if d, err := ParseDuration(text); err == nil && d < 0 {
			t.Errorf("ParseDuration(%q) = %v", text, d)
		}
	})
}
