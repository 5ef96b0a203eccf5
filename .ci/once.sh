# shellcheck shell=bash
# Sourced by the scripts that build programs once into the cache folder: the key that a build has, its lock, and its end whole or not at all.
# The script sets `name`, which its messages begin with.
: "${name:?}"
cache=${XDG_CACHE_HOME:-$HOME/.cache}/headcount
export GOWORK=off CGO_ENABLED=0

say() { printf '%s: %s\n' "$name" "$*" >&2; }

fail() {
	say "$*"
	exit 1
}

# The key of what stdin says.
checksum() { { if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi; } | cut -c 1-16; }

# The compiler, as a part of a key.
go_version() { # the module's folder
	command -v go >/dev/null || fail "Go is needed: install Go 1.26 or newer from https://go.dev/dl and put its bin folder on PATH."
	go -C "$1" env GOVERSION GOOS GOARCH
}

# How many compilers at a time: the largest packages take up to 1 GB, a link up to 2.
jobs() {
	local cores memory
	cores=$(getconf _NPROCESSORS_ONLN)
	memory=$(awk '/^MemAvailable:/ { print int($2 / 1048576 / 1.5) }' /proc/meminfo 2>/dev/null || true)
	if [[ -n $memory && $memory -lt $cores ]]; then cores=$memory; fi
	echo $((cores > 0 ? cores : 1))
}

# Waits until no other run builds $1. Then either it is there and this fails, or `work` is an empty folder to build into, for `built`.
begin() { # the path of what is built
	mkdir -p "${1%/*}"
	exec 9>"$1.lock"
	if command -v flock >/dev/null; then
		flock --nonblock 9 || {
			say "waiting for another build to finish …"
			flock 9
		}
		# What a build that was killed has left behind.
		rm -rf "$1".??????
	fi
	[[ ! -e $1 ]] || return 1
	work=$(mktemp -d "$1.XXXXXX") || fail "$cache can't be written to."
	trap 'rm -rf "$work"' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
}

# Builds a program of a Go module; further flags of `go build` may follow.
go_build() { # the module's folder, the package, the file to write
	# 9>&-: a compiler that outlives the script must not hold the lock.
	go -C "$1" build -mod=readonly -buildvcs=false -trimpath -p "$(jobs)" -o "$3" "${@:4}" "$2" >"$work/log" 2>&1 9>&- || {
		tail -n 40 "$work/log" >&2
		fail "building ${3##*/} failed: Go's last lines are above."
	}
	rm -f "$work/log"
}

# Puts what is in `work` into its place.
built() { # that path
	chmod 755 "$work"
	mv "$work" "$1"
}
