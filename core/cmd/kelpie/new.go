package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/kelpie-sec/kelpie/core/model"
	"github.com/kelpie-sec/kelpie/core/scaffold"
)

// newPlugin is what "plugin new" made.
type newPlugin struct {
	Name     string   `json:"name"`
	Folder   string   `json:"folder"`
	Language string   `json:"language"`
	Files    []string `json:"files"`
}

func (p program) pluginNewCommand(o *options) *cobra.Command {
	var wanted struct {
		detector, enrichment, action bool
		language                     string
		folder, module, sdk          string
	}
	c := &cobra.Command{
		Use: "new NAME", Short: "Begin a plugin: one that builds, is tested and passes the check", Args: cobra.ExactArgs(1),
		Long: "Begin a plugin: one that builds, is tested and passes the check.\n\n" +
			"It is a Go module or a Node package of its own, for a product that does not exist; make it yours file by file, as docs/first-connector.md does. Without flags it has a connector of each kind, in Go.",
		Example: "  kelpie plugin new acme --detector --enrichment\n  kelpie plugin new acme --lang node",
		RunE: func(_ *cobra.Command, args []string) error {
			plugin := scaffold.Plugin{Name: args[0], Language: wanted.language, Module: wanted.module, GoVersion: goVersion()}
			for kind, is := range map[model.ConnectorKind]bool{
				model.Detector: wanted.detector, model.Enrichment: wanted.enrichment, model.Action: wanted.action,
			} {
				if is {
					plugin.Kinds = append(plugin.Kinds, kind)
				}
			}
			if len(plugin.Kinds) == 0 {
				plugin.Kinds = []model.ConnectorKind{model.Detector, model.Enrichment, model.Action}
			}
			slices.Sort(plugin.Kinds)
			var err error
			switch wanted.language {
			case scaffold.Go:
				plugin.SDKVersion, plugin.SDKFolder, err = sdkOf(wanted.sdk)
			case scaffold.Node:
				if wanted.sdk != "" || wanted.module != "" {
					err = usage("--sdk and --module are for plugins in Go; one in Node needs neither")
				}
			default:
				err = usage("--lang is %s or %s, not %q", scaffold.Go, scaffold.Node, wanted.language)
			}
			if err != nil {
				return err
			}
			folder := wanted.folder
			if folder == "" {
				folder = "kelpie-" + strings.ReplaceAll(plugin.Name, "_", "-")
			}
			files, err := scaffold.Write(folder, plugin)
			if err != nil {
				return notWritten(folder, err)
			}
			made := newPlugin{plugin.Name, folder, wanted.language, files}
			if o.json {
				return printJSON(p.out, made)
			}
			printNew(p.out, made)
			if tools := lacking(wanted.language); len(tools) > 0 {
				fmt.Fprintf(p.err, "\nThese commands need %s, which the PATH does not have; https://go.dev/dl and\nhttps://nodejs.org have installers.\n", strings.Join(tools, " and "))
			}
			return nil
		},
	}
	c.Flags().BoolVar(&wanted.detector, "detector", false, "with a detector")
	c.Flags().BoolVar(&wanted.enrichment, "enrichment", false, "with an enrichment")
	c.Flags().BoolVar(&wanted.action, "action", false, "with an action")
	c.Flags().StringVar(&wanted.language, "lang", scaffold.Go, "the language: go or node")
	c.Flags().StringVar(&wanted.folder, "folder", "", "where it is written (default kelpie-NAME)")
	c.Flags().StringVar(&wanted.module, "module", "", "the name of its Go module (default example.org/kelpie-NAME)")
	c.Flags().StringVar(&wanted.sdk, "sdk", "", "the folder of the SDK, where none is published")
	return c
}

// notWritten says why there is no plugin now, and what to do.
func notWritten(folder string, err error) error {
	switch {
	case errors.Is(err, scaffold.ErrRefused):
		return usage("%v", err)
	case errors.Is(err, scaffold.ErrExists):
		return fmt.Errorf("there is something in %s already; --folder names another", safe(folder))
	case errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("%s is a file, or in one, and no folder; --folder names another", safe(folder))
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%s cannot be written to by you; --folder names another", safe(folder))
	}
	return err
}

// lacking are the programs that a plugin in a language is built with and that are not here.
func lacking(language string) []string {
	needed := []string{"go"}
	if language == scaffold.Node {
		needed = []string{"node", "npm"}
	}
	return slices.DeleteFunc(needed, func(tool string) bool {
		_, err := exec.LookPath(tool)
		return err == nil
	})
}

func printNew(w io.Writer, made newPlugin) {
	fmt.Fprintf(w, "Plugin %s is in %s: %s.\n\n", made.Name, line(made.Folder, width-20), plural(len(made.Files), "file"))
	build := fmt.Sprintf("go mod tidy && go test ./...\n  go build -o plugins/%s .", made.Name)
	if made.Language == scaffold.Node {
		build = "npm install && npm test\n  npm run build"
	}
	fmt.Fprintf(w, "  cd %s\n  %s\n  kelpie plugin check plugins/%s\n\n", safe(made.Folder), build, made.Name)
	fmt.Fprintln(w, "README.md says what is where, and how to run it.")
}

// sdkOf says which SDK a plugin is written against: that of this Kelpie, or what is in a
// folder.
func sdkOf(folder string) (version, replaced string, err error) {
	if folder != "" {
		if replaced, err = filepath.Abs(folder); err != nil {
			return "", "", err
		}
		if text, err := os.ReadFile(filepath.Join(replaced, "go.mod")); err != nil || !strings.Contains(string(text), "module "+scaffold.SDK+"\n") {
			return "", "", fmt.Errorf("%s is not the folder of the SDK: there is no go.mod with %s in it", folder, scaffold.SDK)
		}
		return "v0.0.0", replaced, nil
	}
	if info, ok := debug.ReadBuildInfo(); ok && strings.HasPrefix(info.Main.Version, "v") && !strings.Contains(info.Main.Version, "-") {
		return info.Main.Version, "", nil
	}
	return "", "", errors.New("this kelpie is of no release, so that no SDK is published with it; --sdk names the folder sdk of Kelpie's sources")
}

// goVersion is what a new module asks for: that of this program.
func goVersion() string {
	version := strings.TrimPrefix(runtime.Version(), "go")
	if i := strings.IndexFunc(version, func(r rune) bool { return r != '.' && (r < '0' || r > '9') }); i >= 0 {
		version = version[:i]
	}
	return version
}
