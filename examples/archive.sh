#!/bin/sh
# Asks the Local Migration Service for a new Migration Package, with busctl alone, and waits until it is made.
# Exit code 0: it lies at all places; 1: the reason was said.
set -eu

SERVICE=org.localmigration1
ROOT=/org/localmigration1

bus() {
    if [ -n "${LMS_BUS:-}" ]; then busctl --address="$LMS_BUS" "$@"; else busctl --system "$@"; fi
}

property() { # path, interface, name: the value of a text property; where there is none, busctl says why
    found=$(bus get-property "$SERVICE" "$1" "$2" "$3") || return 1
    printf '%s\n' "$found" | sed 's/^s "\(.*\)"$/\1/'
}

# The answer is the job's number and its object: u 7 "/org/localmigration1/job/7"
reply=$(bus call "$SERVICE" "$ROOT" "$SERVICE.Manager" Archive 'a{sv}a{sh}t' 0 0 0)
job=$(printf '%s\n' "$reply" | sed 's/.*"\(.*\)"$/\1/')

while state=$(property "$job" "$SERVICE.Job" State) || exit 1; [ "$state" != finished ]; do
    if [ "$state" = waiting ]; then
        echo "archive.sh: the job waits: $(property "$job" "$SERVICE.Job" Message)" >&2
        exit 1
    fi
    sleep 1
done

result=$(property "$job" "$SERVICE.Job" Result)
if [ "$result" != done ]; then
    echo "archive.sh: $(property "$job" "$SERVICE.Job" Message)" >&2
    echo "archive.sh: hint: $(property "$job" "$SERVICE.Job" Hint)" >&2
    exit 1
fi
echo "archived; the platform is now: $(property "$ROOT" "$SERVICE.Manager" State)"
