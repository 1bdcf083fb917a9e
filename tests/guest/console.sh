# The console: takes requests and answers them, one at a time.
#
#   request   berth-run ID SECONDS BASE64
#   answer    <<berth-begin ID>>, what the commands print, <<berth-end ID STATUS>>; each marker is a line
#
# The commands travel in base64, so no byte of theirs means anything to a terminal, and their length is not
# limited by its line editing (which init turned off). ID is the caller's; it tells an answer from an earlier
# one that came late. One newline stands before the end marker whatever the commands printed: the reader takes
# it off again.

mkfifo /tmp/never 2>/dev/null
while IFS=' ' read -r word id seconds code; do
        [ "$word" = berth-run ] || continue
        echo "$code" | base64 -d >"/tmp/run.$id"
        echo "<<berth-begin $id>>"
        # A session of its own, so that commands that hang can be ended with their children. What they leave
        # in the background lives on.
        setsid sh -c '. /lib/functions.sh; . "$0"' "/tmp/run.$id" </dev/null 2>&1 &
        pid=$!
        {
                # Not sleep, a child that would outlive its shell when that is killed.
                read -r -t "$seconds" _ <>/tmp/never
                : >"/tmp/late.$id"
                kill -KILL "-$pid" || rm "/tmp/late.$id"
        } >/dev/null 2>&1 &
        watchdog=$!
        wait "$pid" 2>/dev/null
        status=$?
        kill "$watchdog"
        wait "$watchdog" 2>/dev/null
        [ -e "/tmp/late.$id" ] && status=124
        rm -f "/tmp/run.$id" "/tmp/late.$id"
        printf '\n<<berth-end %s %s>>\n' "$id" "$status"
done
