package sdk

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestParseNotice(t *testing.T) {
	n, err := ParseNotice(map[string]any{"case": "c1", "title": "x", "score": map[string]any{"total": 87.5}, "later": []any{1}})
	if err != nil || n.Case != "c1" || n.Score.Total != 87.5 {
		t.Errorf("ParseNotice = %+v, %v", n, err)
	}
	for name, parameter := range map[string]any{"none": nil, "no case": map[string]any{}, "text": "x", "no JSON": []byte("{"), "wrong type": map[string]any{"case": 1}} {
		if _, err := ParseNotice(parameter); err == nil || !strings.HasPrefix(err.Error(), "notice: ") {
			t.Errorf("ParseNotice of %s = %v, want an error", name, err)
		}
	}
}

// TestNoticeIsBounded fills every list and text of a notice by reflection, so that a
// field that is added and not bounded is found.
func TestNoticeIsBounded(t *testing.T) {
	var n Notice
	fill(reflect.ValueOf(&n).Elem())
	n.LeftOut = nil
	n.Bound()
	check(t, reflect.ValueOf(n), "notice")
	if got, want := n.LeftOut["signals"], 10; got != want {
		t.Errorf("%d signals left out, want %d", got, want)
	}
	if got, want := n.LeftOut["lines"], 10*MaxNoticeList; got != want {
		t.Errorf("%d lines left out, want %d", got, want)
	}
	once, _ := json.Marshal(n)
	n.Bound()
	if twice, _ := json.Marshal(n); string(once) != string(twice) {
		t.Error("bounding twice changes a notice")
	}
}

func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(strings.Repeat("ä", MaxNoticeText))
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), MaxNoticeList+10, MaxNoticeList+10))
		for i := range v.Len() {
			fill(v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i))
			}
		}
	}
}

func check(t *testing.T, v reflect.Value, path string) {
	switch v.Kind() {
	case reflect.String:
		if v.Len() > MaxNoticeText || !utf8.ValidString(v.String()) {
			t.Fatalf("%s is %d bytes", path, v.Len())
		}
	case reflect.Slice:
		if v.Len() > MaxNoticeList {
			t.Fatalf("%s has %d entries", path, v.Len())
		}
		for i := range v.Len() {
			check(t, v.Index(i), path)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				check(t, v.Field(i), path+"."+f.Name)
			}
		}
	}
}
