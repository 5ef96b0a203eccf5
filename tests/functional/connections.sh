# shellcheck disable=SC2154 shell=bash
# Who is let in, and how. Sourced by functional.sh, whose variables it uses.

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
