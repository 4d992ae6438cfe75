#!/bin/sh
# Renders the sample mails in headless Chromium, at the width of a phone and of a desk, light
# and dark, into docs/mail. Needs Chromium.
set -eu
cd "$(dirname "$0")"
out=${1:-../../docs/mail}
chromium=${CHROMIUM:-chromium}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"

# shot NAME WIDTH light|dark HEIGHT: Chromium does not go below 500 px, so that a phone is a frame.
shot() {
	dark=
	if [ "$3" = dark ]; then dark=--blink-settings=preferredColorScheme=0; else dark=--blink-settings=preferredColorScheme=1; fi
	printf '<!DOCTYPE html><meta charset="utf-8"><body style="margin:0"><iframe src="file://%s/testdata/%s.html" style="border:0;width:%spx;height:%spx;display:block" scrolling="no"></iframe>' \
		"$PWD" "$1" "$2" "$4" >"$work/page.html"
	"$chromium" --headless --no-sandbox --disable-gpu --hide-scrollbars --allow-file-access-from-files --user-data-dir="$work/profile" $dark \
		--window-size="$2,$4" --screenshot="$work/shot.png" "file://$work/page.html" >/dev/null 2>&1
	cp "$work/shot.png" "$out/$1-$2-$3.png"
}

for mail in case approval digest; do
	for scheme in light dark; do
		shot $mail 800 $scheme 2000
		shot $mail 360 $scheme 2900
	done
done
