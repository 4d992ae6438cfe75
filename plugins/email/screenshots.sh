#!/bin/sh
# Renders the sample mails in headless Chromium, at the width of a phone and of a desk, light
# and dark, into docs/mail. Needs Chromium; pngquant, if it is there, makes them small.
set -eu
cd "$(dirname "$0")"
out=${1:-../../docs/mail}
chromium=${CHROMIUM:-chromium}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"

# run PREFERRED OPTION...: Chromium on the page in $work.
run() {
	preferred=$1
	shift
	"$chromium" --headless --no-sandbox --disable-gpu --hide-scrollbars --allow-file-access-from-files --user-data-dir="$work/profile" \
		--blink-settings=preferredColorScheme="$preferred" "$@" "file://$work/page.html" 2>/dev/null
}

# shot NAME WIDTH light|dark: the mail is in a frame, since Chromium's window is not narrower
# than 500. The first run measures it.
shot() {
	preferred=1
	if [ "$3" = dark ]; then preferred=0; fi
	cat >"$work/page.html" <<-PAGE
		<!DOCTYPE html><meta charset="utf-8"><body style="margin:0">
		<iframe src="file://$PWD/testdata/$1.html" style="border:0;width:$2px;height:6000px;display:block" scrolling="no"
		onload="document.title='height='+this.contentDocument.body.lastElementChild.offsetHeight+'.'"></iframe>
	PAGE
	height=$(run "$preferred" --window-size="$2,900" --dump-dom | sed -n 's/.*height=\([0-9]*\)\..*/\1/p' | head -1)
	run "$preferred" --window-size="$2,$height" --screenshot="$work/shot.png" >/dev/null
	if command -v pngquant >/dev/null; then pngquant --force --output "$work/shot.png" 160 "$work/shot.png"; fi
	cp "$work/shot.png" "$out/$1-$2-$3.png"
}

for mail in case approval digest; do
	for scheme in light dark; do
		shot $mail 800 $scheme
		shot $mail 360 $scheme
	done
done
