#!/bin/sh
# The quickstart: builds what its configuration names, brings up a mail server and a
# web hook on this machine's loopback that stand for yours, and runs Kelpie once over
# the recording. Everything that it makes is in bin/ and data/.
set -eu

cd "$(dirname "$0")/../.."
GO=${GO:-go}
CONFIG=${CONFIG:-config.hcl.example}
DATA=data

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[ -t 1 ] || say() { printf '\n%s\n' "$*"; }

command -v "$GO" >/dev/null || { echo "This needs Go 1.26 or later: https://go.dev/dl" >&2; exit 1; }

say "Building Kelpie and the plugins that $CONFIG names (the first time takes a minute or two)"
"$GO" build -o bin/kelpie ./core/cmd/kelpie
plugins=$(sed -n 's/^\(detector\|enrichment\|action\|connection\) "\([a-z0-9_]*\)".*/\2/p' "$CONFIG" | sort -u)
for plugin in $plugins; do
	"$GO" build -o "bin/plugins/$plugin" "./plugins/$plugin"
done
"$GO" build -o bin/smtpsink ./examples/quickstart/smtpsink
"$GO" build -o bin/hooksink ./examples/quickstart/hooksink
bin/kelpie -c "$CONFIG" plugin lock --plugin-dir bin/plugins $plugins >/dev/null

mkdir -p "$DATA/secrets"
chmod 700 "$DATA" "$DATA/secrets"
if [ ! -s "$DATA/secrets/webhook" ]; then
	(umask 077 && printf 'whsec_%s' "$(head -c 24 /dev/urandom | base64)" >"$DATA/secrets/webhook")
fi

bin/smtpsink -addr 127.0.0.1:2525 -maildir "$DATA/mail" >"$DATA/smtpsink.log" 2>&1 &
smtp=$!
bin/hooksink -addr 127.0.0.1:8425 -secret-file "$DATA/secrets/webhook" -out "$DATA/hooks.ndjson" >"$DATA/hooksink.log" 2>&1 &
hook=$!
# Each says so when it listens; if it can't (somebody else has the port), it ends.
listens() {
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		grep -q listen "$2" && kill -0 "$1" 2>/dev/null && return
		kill -0 "$1" 2>/dev/null || break
		sleep 0.2
	done
	echo "This could not be started:" >&2
	cat "$2" >&2
	exit 1
}
trap 'kill $smtp $hook 2>/dev/null || true; wait 2>/dev/null || true' EXIT INT TERM

listens "$smtp" "$DATA/smtpsink.log"
listens "$hook" "$DATA/hooksink.log"

say "kelpie run --once"
bin/kelpie -c "$CONFIG" run --once

say "kelpie explain (the first of them)"
first=$(bin/kelpie -c "$CONFIG" --json case list --limit 1 | sed -n 's/.*"id": "\(c-[0-9a-f]*\)".*/\1/p' | head -n 1)
[ -z "$first" ] || bin/kelpie -c "$CONFIG" explain "$first"

mails=$(find "$DATA/mail/new" -type f 2>/dev/null | wc -l)
hooks=$(wc -l <"$DATA/hooks.ndjson" 2>/dev/null || echo 0)
say "Done: $mails mails in $DATA/mail/new, $hooks calls in $DATA/hooks.ndjson"
cat <<TEXT
What now?
  bin/kelpie -c $CONFIG case list      the cases
  bin/kelpie -c $CONFIG status         how everything is
  bin/kelpie -c $CONFIG run            stay, and follow the files
  cp $CONFIG config.hcl                and make it yours
TEXT
