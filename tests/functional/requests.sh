# shellcheck disable=SC2154 shell=bash
# One request, and what a scenario may expect of its answer. Sourced by functional.sh, whose variables it uses.

# --- one request: fills status, $work/body, $work/head -------------------------------------------------------------------

status=

quiet_curl() { curl --disable --silent --noproxy '*' --globoff --path-as-is --max-time 15 --cacert "$certs/ca.crt" "$@" 2>/dev/null; }
client_curl() { quiet_curl --cert "$certs/client.crt" --key "$certs/client.key" "$@"; }

send() { # curl arguments, the last one being the path below /api/v1, or a whole URL
	local url=${*: -1}
	[[ $url == http* ]] || url=$address/api/v1$url
	: >"$work/body"
	: >"$work/head"
	status=$(quiet_curl --output "$work/body" --dump-header "$work/head" --write-out '%{http_code}' "${@:1:$#-1}" "$url")
	curl_exit=$?
}

as_client() { send --cert "$certs/client.crt" --key "$certs/client.key" "$@"; }
get() { as_client "${@:2}" "$1"; }
put() { as_client --request PUT --header 'Content-Type: application/json' --data-binary "$2" "${@:3}" "$1"; }

header() { # the value of a response header, whatever its case
	local line wanted=$1
	shopt -s nocasematch
	while IFS= read -r line; do
		line=${line%$'\r'}
		if [[ $line == "$wanted":* ]]; then
			line=${line#*:}
			printf '%s' "${line# }"
			break
		fi
	done <"$work/head"
	shopt -u nocasematch
}

body() { head -c 300 "$work/body" | tr -d '\0'; }

# --- what a scenario expects; the first thing that is not so is kept in $problem ----------------------------------------

problem=

fail() { [[ -n $problem ]] || problem=${1//[$'\r\n']/ }; }

expect_status() { [[ $status == "$1" ]] || fail "expected status $1, saw $status with $(body)${2:+ ($2)}"; }

expect_body() { # byte for byte
	printf '%s' "$1" | cmp -s - "$work/body" || fail "expected exactly $1, saw $(body)"
}

expect_header() {
	local seen
	seen=$(header "$1")
	[[ $seen == "$2" ]] || fail "expected the header $1: $2, saw '$seen'"
}

expect_header_like() {
	local seen
	seen=$(header "$1")
	[[ $seen =~ $2 ]] || fail "expected the header $1 to match $2, saw '$seen'"
}

expect_error() { # the status, a JSON object with "error" alone, and the headers of every answer
	expect_status "$1" "${2:-}"
	[[ $(tr -d '\n' <"$work/body" | wc -c) -eq $(wc -c <"$work/body") ]] || fail "a line break in the error $(body)"
	grep -Eqx '\{"error":"([^"\]|\\.)+"\}' "$work/body" || fail "expected {\"error\":\"…\"}, saw '$(body)'${2:+ ($2)}"
	expect_header Content-Type application/json
	expect_header_like X-Request-Id '^[A-Za-z0-9._-]{1,128}$'
}

expect_no_answer() { # the server ends the connection without one byte of HTTP; neither its absence nor its silence counts
	[[ $status == 000 && ! -s $work/head ]] || fail "expected no answer, saw status $status with $(body)"
	case $curl_exit in
	0 | 6 | 7 | 28) fail "expected the connection to be ended, saw curl's exit code $curl_exit" ;;
	esac
}

expect_count() {
	get "$replicas"
	expect_status 200
	expect_body "{\"namespace\":\"$namespace\",\"name\":\"$deployment\",\"replicaCount\":$1}"
}

set_count() {
	put "$replicas" "{\"replicaCount\":$1}"
	expect_status 200
	expect_body '{"message":"Replica count updated successfully."}'
}
