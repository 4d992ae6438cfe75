#!/bin/sh
# Keeps a release of Kelpie's plugins as files: keep.sh COMMIT FOLDER. See README.md.
set -eu

commit=$1 folder=$2
root=$(git -C "$(dirname "$0")" rev-parse --show-toplevel)
GO=${GO:-go}
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT

mkdir -p "$folder/plugins" "$folder/site"
folder=$(cd "$folder" && pwd)
git -C "$root" archive "$commit" | tar -x -C "$tree"
cd "$tree"
"$GO" build -o bin/kelpie ./core/cmd/kelpie
for main in plugins/*/main.go; do
	name=$(basename "$(dirname "$main")")
	"$GO" build -trimpath -ldflags "-s -w" -o "$folder/plugins/$name" "./plugins/$name"
done

# What it is run with: nothing of it leaves.
sed 's/^\( *actions *=\) "on"/\1 "dry_run"/; s/^\( *plugin_dir *=\) .*/\1 "plugins"/' config.hcl.example >"$folder/site/config.hcl"
mkdir -p "$folder/site/examples/quickstart"
cp -r examples/quickstart/recording examples/quickstart/*.csv "$folder/site/examples/quickstart"

# What the Kelpie of that time made of it.
cp -r "$folder/site" run
ln -s "$folder/plugins" run/plugins
cd run
KELPIE_SECRET_WEBHOOK=$(printf 'whsec_%s' "$(printf '%024d' 0 | base64)")
export KELPIE_SECRET_WEBHOOK
../bin/kelpie -c config.hcl plugin lock --plugin-dir plugins >/dev/null
../bin/kelpie -c config.hcl run --once >/dev/null
../bin/kelpie -c config.hcl --json case list >"$folder/cases.json"
cp -r kelpie.schemas "$folder/schemas"
