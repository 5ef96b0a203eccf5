#!/usr/bin/env bash
# Checks a running headcount from outside, with curl alone: what a caller may rely on, and what it refuses.
#
# One line a scenario, `ok - …` or `not ok - …` with what was expected and seen; a scenario that these certificates or
# this curl cannot play is a `skip - …` line. The last line is `N passed, N failed`; exit code 1 when one failed,
# 2 when nothing could be checked.
set -uo pipefail
export LC_ALL=C

usage() {
	cat <<'TEXT'
usage: tests/functional.sh [option …]

  --address URL        the server, such as https://localhost:8443; without it the demo is started and ended
  --certs FOLDER       ca.crt, client.crt, client.key and, for the refusals, expired.{crt,key}, foreign.{crt,key}
  --namespace NAME     with --deployment: the Deployment to scale; without them the first of the list.
  --deployment NAME    Its count changes several times (0 to 3 replicas) and is restored at the end.
  --max-replicas N     the server's own --max-replicas (default 10000)
  --binary FILE        the program that serves the demo (default target/debug/headcount)

The same can be said with FUNCTIONAL_ADDRESS, FUNCTIONAL_CERTS, FUNCTIONAL_NAMESPACE, FUNCTIONAL_DEPLOYMENT,
FUNCTIONAL_MAX_REPLICAS and FUNCTIONAL_BINARY.
TEXT
}

address=${FUNCTIONAL_ADDRESS:-}
certs=${FUNCTIONAL_CERTS:-}
namespace=${FUNCTIONAL_NAMESPACE:-}
deployment=${FUNCTIONAL_DEPLOYMENT:-}
max_replicas=${FUNCTIONAL_MAX_REPLICAS:-10000}
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
binary=${FUNCTIONAL_BINARY:-${CARGO_TARGET_DIR:-$checkout/target}/debug/headcount}

give_up() {
	printf 'functional.sh: %s\n' "$1" >&2
	exit 2
}

while (($# > 0)); do
	case $1 in
	--help | -h) usage && exit 0 ;;
	--address | --certs | --namespace | --deployment | --max-replicas | --binary)
		(($# > 1)) || give_up "$1 needs a value"
		;;
	*) give_up "unknown argument $1; see --help" ;;
	esac
	case $1 in
	--address) address=$2 ;;
	--certs) certs=$2 ;;
	--namespace) namespace=$2 ;;
	--deployment) deployment=$2 ;;
	--max-replicas) max_replicas=$2 ;;
	--binary) binary=$2 ;;
	esac
	shift 2
done
command -v curl >/dev/null || give_up "curl is missing"
curl_features=$(curl --version)

# --- the server and the folder for answers ------------------------------------------------------------------------------

work=$(mktemp -d)
demo_pid=
initial_count=

finish() {
	if [[ -n $initial_count ]]; then
		put "$replicas" "{\"replicaCount\":$initial_count}"
		[[ $status == 20[02] ]] || printf 'functional.sh: could not restore %s replicas: status %s\n' "$initial_count" "$status" >&2
	fi
	if [[ -n $demo_pid ]]; then
		kill "$demo_pid" 2>/dev/null
		wait "$demo_pid" 2>/dev/null
	fi
	rm -rf "$work"
}

start_demo() {
	[[ -x $binary ]] || give_up "$binary is missing: build it with 'cargo build', or pass --address and --certs"
	certs=$work/demo
	"$binary" demo --listen 127.0.0.1:0 --dir "$certs" >"$work/demo.log" 2>&1 &
	demo_pid=$!
	local tries
	for ((tries = 0; tries < 300; tries++)); do
		address=$(grep -o 'https://[^/ ]*/api/v1' "$work/demo.log" | head -n 1)
		address=${address%/api/v1}
		if [[ -n $address ]]; then
			get /health
			[[ $status == 200 ]] && return
		fi
		kill -0 "$demo_pid" 2>/dev/null || break
		sleep 0.1
	done
	cat "$work/demo.log" >&2
	give_up "the demo did not start"
}

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

# --- the four calls ------------------------------------------------------------------------------------------------------

scenario_health_says_healthy_and_connected() {
	get /health
	expect_status 200
	expect_body '{"status":"healthy","kubernetes":"connected"}'
	expect_header Content-Type application/json
}

scenario_the_count_is_read_exactly() {
	get "$replicas"
	local count
	count=$(sed -n 's/.*"replicaCount":\([0-9]*\)}$/\1/p' "$work/body")
	expect_status 200
	expect_body "{\"namespace\":\"$namespace\",\"name\":\"$deployment\",\"replicaCount\":$count}"
	expect_header Content-Type application/json
	expect_header_like X-Resource-Version '^[0-9]+$'
	expect_header_like ETag '^"[^"]+"$'
}

scenario_a_write_answers_exactly_and_is_read_at_once() {
	local count
	for count in 2 3 1 2; do
		set_count "$count"
		expect_header Content-Type application/json
		expect_count "$count"
	done
}

scenario_a_write_to_zero_is_read_as_zero() {
	set_count 0
	expect_count 0
	set_count 1
	expect_count 1
}

scenario_writes_at_the_same_time_all_succeed_or_conflict() {
	local n pids=() count
	for n in 1 2 3; do
		client_curl --request PUT --header 'Content-Type: application/json' --data-binary "{\"replicaCount\":$n}" \
			--output /dev/null --write-out '%{http_code}' "$address/api/v1$replicas" >"$work/writer$n" &
		pids+=($!)
	done
	wait "${pids[@]}"
	for n in 1 2 3; do
		count=$(<"$work/writer$n")
		[[ $count == 200 || $count == 409 ]] || fail "expected status 200 or 409 from writer $n, saw $count"
	done
	get "$replicas"
	grep -Eq '"replicaCount":[123]}$' "$work/body" || fail "expected one of the counts written, saw $(body)"
}

scenario_the_list_holds_objects_of_the_exact_form() {
	get /deployments
	expect_status 200
	expect_header Content-Type application/json
	expect_header_like X-Resource-Version '^[0-9]+$'
	expect_header_like ETag '^W/"[^"]+"$'
	local object='\{"namespace":"[a-z0-9-]+","name":"[a-z0-9.-]+","replicaCount":[0-9]+\}'
	grep -Eqx "\[($object(,$object)*)?\]" "$work/body" || fail "not a list of such objects: $(body)"
	grep -Fq "{\"namespace\":\"$namespace\",\"name\":\"$deployment\",\"replicaCount\":" "$work/body" || fail "the list lacks $namespace/$deployment"
	[[ $(tail -c 1 "$work/body") == ']' ]] || fail "something follows the list"
}

scenario_the_list_is_sorted_by_namespace_then_name() {
	get /deployments
	grep -Eo '"namespace":"[^"]*","name":"[^"]*"' "$work/body" | cut -d '"' -f 4,8 | sort -c -t '"' -k 1,1 -k 2,2 2>/dev/null ||
		fail "the list is not sorted"
}

scenario_a_write_shows_in_the_list_at_once() {
	local count
	for count in 3 2; do
		set_count "$count"
		get /deployments
		grep -Fq "{\"namespace\":\"$namespace\",\"name\":\"$deployment\",\"replicaCount\":$count}" "$work/body" ||
			fail "expected $count replicas in the list"
	done
}

scenario_the_compressed_list_equals_the_plain_one() {
	# Other Deployments may change in between: only lists with the same tag must be equal.
	local tries tag
	for ((tries = 0; tries < 20; tries++)); do
		get /deployments
		tag=$(header ETag)
		cp "$work/body" "$work/plain"
		get /deployments --compressed --header 'Accept-Encoding: gzip'
		expect_status 200
		[[ $(header ETag) == "$tag" ]] || continue
		cmp -s "$work/plain" "$work/body" || fail "the decoded list differs from the plain one"
		if (($(wc -c <"$work/plain") > 1024)); then
			expect_header Content-Encoding gzip
		fi
		return
	done
	fail "the list's tag never stayed the same for two requests"
}

scenario_gzip_is_not_used_where_it_is_refused() {
	get /deployments --header 'Accept-Encoding: gzip;q=0'
	expect_status 200
	expect_header Content-Encoding ''
}

scenario_head_answers_like_get() {
	local path tag
	for path in "$replicas" /deployments /health; do
		get "$path" --head
		expect_status 200 "HEAD $path"
		expect_header Content-Type application/json
	done
	get "$replicas"
	tag=$(header ETag)
	get "$replicas" --head
	expect_header ETag "$tag"
	get /namespaces/no-such-namespace/deployments/no-such-deployment/replicas --head
	expect_status 404
}

scenario_head_sends_no_body() {
	# A body after HEAD would be taken for the start of the next answer on the same connection.
	local seen
	seen=$(client_curl --http1.1 --head --output /dev/null --write-out '%{http_code} ' "$address/api/v1/deployments" \
		--next --disable --silent --noproxy '*' --globoff --cacert "$certs/ca.crt" --cert "$certs/client.crt" \
		--key "$certs/client.key" --http1.1 --output "$work/body" --write-out '%{http_code} %{num_connects}' "$address/api/v1/health")
	[[ $seen == "200 200 0" ]] || fail "expected two answers on one connection (200 200 0), saw $seen"
	expect_body '{"status":"healthy","kubernetes":"connected"}'
}

# --- request ids and versions --------------------------------------------------------------------------------------------

scenario_a_sane_request_id_is_echoed() {
	local id long
	long=$(printf '%0128d' 7)
	for id in abc-DEF_1.2 x "$long"; do
		get /health --header "X-Request-Id: $id"
		expect_header X-Request-Id "$id"
		get /no-such-path --header "X-Request-Id: $id"
		expect_header X-Request-Id "$id"
	done
}

scenario_a_missing_request_id_is_made_anew_each_time() {
	get /health
	expect_header_like X-Request-Id '^[A-Za-z0-9._-]{1,128}$'
	local first
	first=$(header X-Request-Id)
	get /health
	[[ $(header X-Request-Id) != "$first" ]] || fail "two requests have the same id $first"
}

scenario_a_request_id_too_long_or_with_odd_characters_is_replaced() {
	local id
	for id in "$(printf '%0129d' 7)" 'a b' 'a;b' 'a%0Ab' '"a"' '<a>' $'a\tb' $'\xc3\xbc' $'a\nforged: b'; do
		get /health --http1.1 --header "X-Request-Id: $id"
		expect_status 200 "id $id"
		expect_header_like X-Request-Id '^[A-Za-z0-9._-]{1,128}$'
		expect_header forged ''
		[[ $id == *$'\n'* || $(header X-Request-Id) != "$id" ]] || fail "the id '$id' came back"
	done
}

scenario_versions_grow_with_each_write() {
	local count before after
	set_count 1
	before=$(header X-Resource-Version)
	for count in 2 3; do
		set_count "$count"
		after=$(header X-Resource-Version)
		[[ $before =~ ^[0-9]+$ && $after =~ ^[0-9]+$ ]] || fail "expected versions, saw '$before' and '$after'"
		((after > before)) || fail "expected a version above $before, saw $after"
		before=$after
	done
	get "$replicas"
	[[ $(header X-Resource-Version) -ge $after ]] || fail "the read is older than the write: $(header X-Resource-Version) < $after"
	get /deployments
	[[ $(header X-Resource-Version) -ge $after ]] || fail "the list is older than the write: $(header X-Resource-Version) < $after"
}

scenario_a_read_waits_for_a_version_that_is_there() {
	set_count 2
	local version
	version=$(header X-Resource-Version)
	get "$replicas" --header "X-Min-Resource-Version: $version"
	expect_status 200
	get /deployments --header "X-Min-Resource-Version: $version"
	expect_status 200
}

scenario_a_read_of_a_version_that_never_comes_is_503() {
	get "$replicas" --header 'X-Min-Resource-Version: 9223372036854775807'
	expect_error 503
	expect_header_like Retry-After '^[0-9]+$'
}

# --- preconditions, preferences, dry run ---------------------------------------------------------------------------------

scenario_an_unchanged_count_is_304() {
	set_count 2
	get "$replicas"
	local tag condition
	tag=$(header ETag)
	for condition in "$tag" "\"other\", $tag" '*'; do
		get "$replicas" --header "If-None-Match: $condition"
		expect_status 304 "If-None-Match: $condition"
		expect_body ''
		expect_header ETag "$tag"
	done
	set_count 3
	get "$replicas" --header "If-None-Match: $tag"
	expect_status 200
}

scenario_an_unchanged_list_is_304() {
	local tries tag
	for ((tries = 0; tries < 20; tries++)); do
		get /deployments
		tag=$(header ETag)
		get /deployments --header "If-None-Match: $tag"
		[[ $status == 200 && $(header ETag) != "$tag" ]] && continue # another Deployment changed in between
		expect_status 304
		expect_body ''
		return
	done
	fail "the list's tag never stayed the same for two requests"
}

scenario_a_write_with_the_current_tag_is_done() {
	set_count 1
	get "$replicas"
	put "$replicas" '{"replicaCount":2}' --header "If-Match: $(header ETag)"
	expect_status 200
	put "$replicas" '{"replicaCount":3}' --header 'If-Match: *'
	expect_status 200
	expect_count 3
}

scenario_a_write_with_an_old_tag_is_412_and_changes_nothing() {
	set_count 1
	get "$replicas"
	local old condition
	old=$(header ETag)
	set_count 2
	for condition in "$old" '"no-such-tag"' "W/$old"; do
		put "$replicas" '{"replicaCount":3}' --header "If-Match: $condition"
		expect_error 412 "If-Match: $condition"
	done
	expect_count 2
}

scenario_the_representation_of_a_write_says_what_changed() {
	set_count 1
	put "$replicas" '{"replicaCount":3}' --header 'Prefer: return=representation'
	expect_status 200
	expect_representation 3 1 true
	put "$replicas" '{"replicaCount":3}' --header 'Prefer: return=representation'
	expect_status 200
	expect_representation 3 3 false
}

expect_representation() {
	expect_body "{\"namespace\":\"$namespace\",\"name\":\"$deployment\",\"replicaCount\":$1,\"previousReplicaCount\":$2,\"changed\":$3,\"resourceVersion\":\"$(header X-Resource-Version)\"}"
}

scenario_a_dry_run_changes_nothing() {
	set_count 2
	put "$replicas?dryRun=true" '{"replicaCount":3}'
	expect_status 200
	expect_count 2
	put "$replicas?dryRun=true" "{\"replicaCount\":$((max_replicas + 1))}"
	expect_error 422
}

# --- names ---------------------------------------------------------------------------------------------------------------

scenario_percent_encoded_names_are_the_same_names() {
	local encoded_namespace encoded_name
	encoded_namespace=$(printf '%%%02X' "'$namespace")${namespace:1}
	encoded_name=$(printf '%%%02x' "'$deployment")${deployment:1}
	get "/namespaces/$encoded_namespace/deployments/$encoded_name/replicas"
	expect_status 200
	grep -Fq "{\"namespace\":\"$namespace\",\"name\":\"$deployment\"," "$work/body" || fail "saw $(body)"
}

scenario_names_that_kubernetes_would_not_accept_are_400() {
	local long name bad
	long=$(printf '%064d' 1)
	for bad in '..' '.' '%2e%2e' '%2E' 'a%2Fb' '%2F' 'a%00' '%00' '' 'Default' 'a_b' '-a' 'a-' 'a.b' 'a%20b' '%zz' '%' '%2' \
		'%ff' '%C3%BC' 'a;b' "$long"; do
		get "/namespaces/$bad/deployments/$deployment/replicas"
		expect_error 400 "namespace '$bad'"
	done
	long=$(printf '%0254d' 1)
	for name in '..' '.' '%2e%2e' 'a%2Fb' '%2f' 'web%00' '' 'Web' 'a_b' '-a' 'a-' '.a' 'a.' 'a..b' 'a.-b' 'a%20b' '%zz' '%ff' "$long"; do
		get "/namespaces/$namespace/deployments/$name/replicas"
		expect_error 400 "name '$name'"
		put "/namespaces/$namespace/deployments/$name/replicas" '{"replicaCount":1}'
		expect_error 400 "PUT, name '$name'"
	done
}

scenario_names_at_the_limits_are_looked_up() {
	local name
	for name in "$(printf '%0253d' 1)" a.b.c 0 a--b; do
		get "/namespaces/$namespace/deployments/$name/replicas"
		expect_error 404 "name '$name'"
	done
	get "/namespaces/$(printf '%063d' 1)/deployments/$deployment/replicas"
	expect_error 404
}

# --- paths, methods, sizes, media types ----------------------------------------------------------------------------------

scenario_a_path_that_does_not_exist_is_404() {
	local path
	for path in / /api /api/v1 /api/v1/ /api/v1/deployment /api/v1/deployments/ /api/v1/healthz /api/v2/deployments \
		"/api/v1$replicas/" "/api/v1${replicas%s}" /api/v1/namespaces /API/v1/deployments //api/v1/deployments /metrics \
		/livez /readyz; do
		get "$address$path"
		expect_error 404 "path $path"
	done
	as_client --request POST /no-such-path
	expect_error 404 "POST"
}

scenario_a_deployment_that_does_not_exist_is_404() {
	local path
	for path in "/namespaces/$namespace/deployments/no-such-deployment/replicas" \
		"/namespaces/no-such-namespace/deployments/$deployment/replicas"; do
		get "$path"
		expect_error 404 "GET"
		put "$path" '{"replicaCount":1}'
		expect_error 404 "PUT"
	done
}

scenario_another_method_is_405_with_allow() {
	local method
	for method in POST DELETE PATCH OPTIONS; do
		as_client --request "$method" "$replicas"
		expect_error 405 "$method"
		expect_header_like Allow 'GET'
		expect_header_like Allow 'HEAD'
		expect_header_like Allow 'PUT'
	done
	for method in PUT POST DELETE; do
		as_client --request "$method" /deployments
		expect_error 405 "$method"
		expect_header_like Allow 'GET'
		as_client --request "$method" /health
		expect_error 405 "$method"
		[[ $(header Allow) != *PUT* ]] || fail "Allow names PUT for /health"
	done
}

scenario_a_body_over_64_KiB_is_413() {
	printf '{"replicaCount":2}%*s' 65519 '' >"$work/large"
	put "$replicas" "@$work/large"
	expect_error 413 "with its length"
	put "$replicas" "@$work/large" --http1.1 --header 'Transfer-Encoding: chunked'
	expect_error 413 "in chunks"
}

scenario_a_body_of_64_KiB_is_read() {
	printf '{"replicaCount":2}%*s' 65518 '' >"$work/large"
	put "$replicas" "@$work/large"
	expect_status 200
	expect_count 2
}

scenario_an_address_over_8_KiB_is_414() {
	local long
	long=$(printf '%09000d' 1)
	get "/deployments?$long"
	expect_error 414
	get "/deployments?$long" --http1.1
	expect_error 414
}

scenario_headers_over_32_KiB_are_431() {
	local long
	long=$(printf '%033000d' 1)
	get /deployments --header "X-Padding: $long"
	expect_error 431
	get /deployments --http1.1 --header "X-Padding: $long"
	expect_error 431
}

scenario_a_body_that_is_not_json_is_415() {
	local type
	for type in text/plain application/jsonx application/x-www-form-urlencoded json ''; do
		as_client --request PUT --header "Content-Type: $type" --data-binary '{"replicaCount":1}' "$replicas"
		expect_error 415 "Content-Type '$type'"
	done
	as_client --request PUT --header 'Content-Type: text/plain' --data-binary '{' "/namespaces/A/deployments/B/replicas"
	expect_error 415 "it is judged before names and bodies"
}

scenario_json_with_parameters_is_read() {
	local type
	for type in 'application/json; charset=utf-8' 'Application/JSON' 'application/json;charset="utf-8"'; do
		as_client --request PUT --header "Content-Type: $type" --data-binary '{"replicaCount":2}' "$replicas"
		expect_status 200 "Content-Type '$type'"
	done
}

# --- bodies --------------------------------------------------------------------------------------------------------------

scenario_a_body_that_is_not_one_whole_count_is_400() {
	local bad deep
	deep=$(printf '%030000d' 0)
	local bodies=('' '{}' 'null' '[]' '3' '"3"' '{' '{"replicaCount"}' '{"replicaCount":}' '{"replicaCount":null}'
		'{"replicaCount":"3"}' '{"replicaCount":3.0}' '{"replicaCount":1.5}' '{"replicaCount":1e1}' '{"replicaCount":1E0}'
		'{"replicaCount":-1}' '{"replicaCount":2147483648}' '{"replicaCount":99999999999999999999999}' '{"replicaCount":03}'
		'{"replicaCount":+3}' '{"replicaCount":0x3}' '{"replicaCount":true}' '{"replicaCount":[3]}' '{"replicaCount":{}}'
		'{"replicaCount":3,"replicaCount":3}' '{"replicaCount":3,"other":1}' '{"replicacount":3}' '{"replicas":3}'
		'{"replicaCount":3} x' '{"replicaCount":3}{"replicaCount":3}' '[{"replicaCount":3}]' "{'replicaCount':3}"
		'{"replicaCount":3,}' '{replicaCount:3}' '{"replicaCount":NaN}' $'{"replicaCount":3}\xff' $'\xef\xbb\xbf{"replicaCount":3}'
		"${deep//0/[}" "{\"replicaCount\":${deep//0/[}")
	set_count 2
	for bad in "${bodies[@]}"; do
		put "$replicas" "$bad"
		expect_error 400 "body ${bad:0:60}"
	done
	put "/namespaces/$namespace/deployments/no-such-deployment/replicas" '{}'
	expect_error 400 "it is judged before the Deployment is looked up"
	expect_count 2
}

scenario_white_space_in_a_body_is_fine() {
	put "$replicas" $' {\r\n\t"replicaCount" : 3 }\n'
	expect_status 200
	expect_count 3
}

scenario_a_count_above_the_bound_is_422_and_changes_nothing() {
	set_count 2
	local count
	for count in $((max_replicas + 1)) 2147483647; do
		((count > max_replicas)) || continue
		put "$replicas" "{\"replicaCount\":$count}"
		expect_error 422 "count $count"
		[[ $(body) == *$count*$max_replicas* || $(body) == *$max_replicas*$count* ]] || fail "expected count and bound in $(body)"
	done
	put "/namespaces/$namespace/deployments/no-such-deployment/replicas" "{\"replicaCount\":$((max_replicas + 1))}"
	expect_error 404 "the Deployment is looked up first"
	expect_count 2
}

# --- connections ---------------------------------------------------------------------------------------------------------

needs() { # files that this scenario cannot do without
	local name
	for name in "$@"; do
		[[ -r $certs/$name ]] || skip="$certs/$name is not there"
	done
	[[ -z $skip ]]
}

scenario_no_client_certificate_no_answer() {
	send /health
	expect_no_answer
}

scenario_a_certificate_of_a_foreign_authority_gets_no_answer() {
	needs foreign.crt foreign.key || return
	send --cert "$certs/foreign.crt" --key "$certs/foreign.key" /health
	expect_no_answer
}

scenario_an_expired_certificate_gets_no_answer() {
	needs expired.crt expired.key || return
	send --cert "$certs/expired.crt" --key "$certs/expired.key" /health
	expect_no_answer
}

scenario_a_servers_certificate_is_none_for_a_client() {
	needs server.crt server.key || return
	send --cert "$certs/server.crt" --key "$certs/server.key" /health
	expect_no_answer
}

scenario_a_second_client_is_answered_too() {
	needs client2.crt client2.key || return
	send --cert "$certs/client2.crt" --key "$certs/client2.key" /health
	expect_status 200
}

scenario_tls_below_1_3_gets_no_answer() {
	local version
	for version in 1.0 1.1 1.2; do
		get /health --tls-max "$version"
		expect_no_answer
	done
}

scenario_plain_http_gets_no_answer_from_the_api() {
	as_client "http://${address#https://}/api/v1/health"
	[[ $status != 200 ]] || fail "plain HTTP was answered with $(body)"
	! grep -q healthy "$work/body" || fail "plain HTTP was answered with $(body)"
}

scenario_http_1_1_is_spoken() {
	get /health --http1.1
	expect_status 200
	grep -q '^HTTP/1\.1 200' "$work/head" || fail "expected HTTP/1.1, saw $(head -n 1 "$work/head")"
}

scenario_http_2_is_spoken() {
	if [[ $curl_features != *HTTP2* ]]; then
		skip="this curl has no HTTP/2"
		return
	fi
	get /health --http2
	expect_status 200
	grep -q '^HTTP/2 200' "$work/head" || fail "expected HTTP/2, saw $(head -n 1 "$work/head")"
}

scenario_http_1_1_without_a_host_is_400() {
	get /health --http1.1 --header 'Host:'
	expect_status 400
}

scenario_one_connection_carries_several_requests() {
	local version connections
	for version in --http1.1 --http2; do
		connections=$(client_curl "$version" --output /dev/null --output /dev/null --output /dev/null --write-out '%{num_connects}' \
			"$address/api/v1/health" "$address/api/v1/no-such-path" "$address/api/v1/deployments")
		[[ $connections == 100 ]] || fail "expected one connection for three requests, saw $connections with $version"
	done
}

# --- run them all, in the order of this file -----------------------------------------------------------------------------

passed=0
failed=0
trap finish EXIT
trap 'exit 130' INT TERM

[[ -n $address ]] || start_demo
[[ -n $certs ]] || give_up "--certs is missing: a folder with ca.crt, client.crt and client.key"
for file in ca.crt client.crt client.key; do
	[[ -r $certs/$file ]] || give_up "$certs/$file is missing"
done
address=${address%/}

if [[ -z $namespace && -z $deployment ]]; then
	get /deployments
	[[ $status == 200 ]] || give_up "$address/api/v1/deployments answers $status: $(body)"
	namespace=$(sed -n 's/^\[{"namespace":"\([^"]*\)".*/\1/p' "$work/body")
	deployment=$(sed -n 's/^\[{"namespace":"[^"]*","name":"\([^"]*\)".*/\1/p' "$work/body")
	[[ -n $deployment ]] || give_up "there is no Deployment to scale"
fi
[[ -n $namespace && -n $deployment ]] || give_up "--namespace and --deployment go together"
replicas=/namespaces/$namespace/deployments/$deployment/replicas
get "$replicas"
[[ $status == 200 ]] || give_up "$address/api/v1$replicas answers $status: $(body)"
initial_count=$(sed -n 's/.*"replicaCount":\([0-9]*\).*/\1/p' "$work/body")

while IFS= read -r scenario; do
	problem=
	skip=
	"scenario_$scenario"
	name=${scenario//_/ }
	if [[ -n $problem ]]; then
		failed=$((failed + 1))
		printf 'not ok - %s: %s\n' "$name" "$problem"
	elif [[ -n $skip ]]; then
		printf 'skip - %s: %s\n' "$name" "$skip"
	else
		passed=$((passed + 1))
		printf 'ok - %s\n' "$name"
	fi
done < <(sed -n 's/^scenario_\([a-zA-Z0-9_]*\)().*/\1/p' "${BASH_SOURCE[0]}")
finish
trap - EXIT
printf '%d passed, %d failed\n' "$passed" "$failed"
((failed == 0))
