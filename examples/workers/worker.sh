#!/bin/bash
# A worker in shell: what docs/wire.md asks of one, as little of it as will do. For programs that are run by a line of shell anyway: put yours where
# `words` stands. Needs bash 4.3, and od, tr and sed of the GNU tools.
#
#   snakepit worker-check -- /bin/bash worker.sh
#
# It answers calls, one after the other, and PING. No streams, no inbox, no tools of the host; a call that shall end is ended with its process.
#
# A shell's variables hold no bytes of value 0, so everything stands in hexadecimal digits, two a byte; what is not looked into goes back as it came.
# Each frame costs some processes, milliseconds.
#
# The host is trusted. What is no frame ends the worker (status 1), what is no value, or none that fits, is the ERROR of its call.

LC_ALL=C
IFS=, read -r control segment <<<"$SNAKEPIT_FDS"
[[ $control =~ ^[0-9]+$ && $segment =~ ^(-1|[0-9]+)$ ]] || { echo "$0: SNAKEPIT_FDS is not set: a Snakepit host starts this" >&2; exit 2; }
unset SNAKEPIT_FDS

HELLO=01 WELCOME=02 READY=03 STOP=05 CALL=10 RESULT=11 ERROR=12 STREAM_CALL=18 PING=30 PONG=31
DROPPED=' 13 1a 1b 1c 21 22 23 ' # CANCEL, and what is for streams and answers that there are none of
max_frame=$((64 << 20))

# ---- bytes ----

# The next n bytes of the socket, into $bytes. The host gone: the end.
receive() {
    if (($1 < 4096)); then
        bytes=$(od -An -v -tx1 -N "$1" <&"$control")
        bytes=${bytes//[$' \n']/}
    else
        bytes=$(od -An -v -tx1 -N "$1" <&"$control" | tr -d ' \n')
    fi
    ((${#bytes} == 2 * $1)) || exit 0
}

# Of a text, into $hex.
hex_of() {
    local i digits
    hex=
    for ((i = 0; i < ${#1}; i++)); do
        printf -v digits %02x "'${1:i:1}"
        hex+=$digits
    done
}

# A number of n bytes, the lowest first, of the digits; into $number. Eight bytes may come out negative.
little() {
    local i turned=
    for ((i = ${#1} - 2; i >= 0; i -= 2)); do turned+=${1:i:2}; done
    number=$((16#$turned))
}

# A frame: kind, id (digits as they came), stamp (a number), payload (digits).
send() {
    local head i size stamp
    printf -v size %08x $((24 + ${#4} / 2))
    printf -v stamp %016x "$3"
    head="01${1}0000"
    for ((i = 6; i >= 0; i -= 2)); do head+=${size:i:2}; done
    head+=$2
    for ((i = 14; i >= 0; i -= 2)); do head+=${stamp:i:2}; done
    if ((${#4} < 8192)); then
        put "$head$4" >&"$control"
    else
        printf %b "$(printf %s "$head$4" | sed 's/../\\x&/g')" >&"$control"
    fi
}

# Digits as the bytes that they are, on standard output.
put() {
    local i text=
    for ((i = 0; i < ${#1}; i += 2)); do text+="\\x${1:i:2}"; done
    printf %b "$text"
}

# ---- values ----

pack_int() {
    local n=$1
    if ((n >= 0 && n < 128)); then printf -v packed %02x "$n"
    elif ((n >= -32 && n < 0)); then printf -v packed %02x $((n & 255))
    elif ((n >= 0 && n < 256)); then printf -v packed cc%02x "$n"
    elif ((n >= 0 && n < 65536)); then printf -v packed cd%04x "$n"
    elif ((n >= 0 && n < 1 << 32)); then printf -v packed ce%08x "$n"
    elif ((n >= 0)); then printf -v packed cf%016x "$n"
    elif ((n >= -128)); then printf -v packed d0%02x $((n & 255))
    elif ((n >= -32768)); then printf -v packed d1%04x $((n & 65535))
    elif ((n >= -(1 << 31))); then printf -v packed d2%08x $((n & 0xffffffff))
    else printf -v packed d3%016x "$n"
    fi
}

# The digits of a text, as a value.
pack_hex() {
    printf -v packed db%08x $((${#1} / 2))
    packed+=$1
}

pack_text() {
    hex_of "$1"
    pack_hex "$hex"
}

# Values are read from $data at $at. Of each: $kind; of a leaf $value (an int's number, digits else), of a list or map $count.
take() {
    local head n=0
    ((at + 2 <= ${#data})) || return 1
    head=$((16#${data:at:2})) at=$((at + 2)) count=0 value=
    if ((head < 128)); then kind=int value=$head
    elif ((head < 144)); then kind=map count=$((head & 15))
    elif ((head < 160)); then kind=list count=$((head & 15))
    elif ((head < 192)); then kind=text n=$((head & 31))
    elif ((head >= 224)); then kind=int value=$((head - 256))
    else
        case $head in
        192) kind=nil ;;
        194 | 195) kind=bool value=$((head - 194)) ;;
        196 | 197 | 198) kind=bytes && size $((1 << (head - 196))) && n=$number ;;
        199 | 200 | 201) kind=ext && size $((1 << (head - 199))) && n=$((number + 1)) ;;
        202 | 203) kind=float n=$((4 << (head - 202))) ;;
        204 | 205 | 206) kind=int && size $((1 << (head - 204))) && value=$number ;;
        207) kind=int && size 8 && value=$number && { ((number >= 0)) || kind=large; } ;;
        208 | 209 | 210 | 211) kind=int && signed $((1 << (head - 208))) && value=$number ;;
        212 | 213 | 214 | 215 | 216) kind=ext n=$(((1 << (head - 212)) + 1)) ;;
        217 | 218 | 219) kind=text && size $((1 << (head - 217))) && n=$number ;;
        220 | 221) kind=list && size $((2 << (head - 220))) && count=$number ;;
        222 | 223) kind=map && size $((2 << (head - 222))) && count=$number ;;
        *) return 1 ;;
        esac || return 1
    fi
    ((at + 2 * (n > count ? n : count) <= ${#data})) || return 1
    if ((n > 0)); then
        value=${data:at:2*n} at=$((at + 2 * n))
    fi
}

# A number of n bytes, the highest first.
size() {
    ((at + 2 * $1 <= ${#data})) || return 1
    number=$((16#${data:at:2*$1})) at=$((at + 2 * $1))
}

signed() {
    size "$1" && number=$((number << (64 - 8 * $1) >> (64 - 8 * $1)))
}

# One whole value, whatever is in it, into $whole; $first and $what are the kind and the value of its head.
take_whole() {
    local from=$at left=1
    first=
    while ((left > 0)); do
        take || return 1
        [[ -n $first ]] || { first=$kind what=$value; }
        [[ $kind == map ]] && count=$((2 * count))
        left=$((left - 1 + count))
    done
    whole=${data:from:at-from}
}

# ---- calls ----

# What a call is given, into $name (digits), args and named: whole values.
take_call() {
    local n
    args=() named=()
    take && [[ $kind == text ]] && name=$value && from=$at && take || return 1
    case $kind in
    nil) ;;
    list) take_list $count || return 1 ;;
    map)
        n=$count
        if ! take_named $n; then # not all keys are texts: one argument
            at=$from args=() named=()
            take_whole && args=("$whole") || return 1
        fi
        ;;
    ext)
        case $value in
        02*) # a tuple
            inside "$value" take_all_listed || return 1
            ;;
        03*) inside "$value" take_both || return 1 ;;
        *) args=("${data:from:at-from}") ;;
        esac
        ;;
    *) args=("${data:from:at-from}") ;;
    esac
    ((at == ${#data}))
}

# Reads what is in an extension, to its end.
inside() {
    local outer=$data after=$at
    data=$1 at=2
    "$2" && ((at == ${#data})) || return 1
    data=$outer at=$after
}

take_list() {
    local i
    for ((i = 0; i < $1; i++)); do
        take_whole || return 1
        args+=("$whole")
    done
}

take_named() {
    local i key
    for ((i = 0; i < $1; i++)); do
        take && [[ $kind == text ]] && key=$value && take_whole || return 1
        named[$key]=$whole
    done
}

take_all_listed() {
    take && [[ $kind == list ]] && take_list $count
}

take_both() {
    take && { [[ $kind == nil ]] || { [[ $kind == list ]] && take_list $count; }; } || return 1
    take && { [[ $kind == nil ]] || { [[ $kind == map ]] && take_named $count; }; }
}

# An ERROR is what the function leaves in $code and $message (digits).
failed() {
    hex_of "$2"
    code=$1 message=$hex
    return 1
}

# The arguments of a tool by its names for them, into $given; all of them are needed.
want() {
    local names=("$@") i
    given=()
    ((${#args[@]} + ${#named[@]} == $#)) || failed invalid_parameter "$# arguments are needed: $*" || return 1
    for ((i = 0; i < $#; i++)); do
        hex_of "${names[i]}"
        if ((i < ${#args[@]})); then given+=("${args[i]}")
        elif [[ -n ${named[$hex]} ]]; then given+=("${named[$hex]}")
        else failed invalid_parameter "the argument ${names[i]} is missing" || return 1
        fi
    done
}

# One of them, which is of this kind; into $value.
wanted() {
    local data=$1 at=0
    take && [[ $kind == "$2" ]] || failed invalid_parameter "an argument is no $2"
}

# ---- the tools: each leaves the digits of its result in $packed ----

declare -A named tools
tool_echo() {
    want value && packed=${given[0]}
}

tool_add() {
    local a b
    want a b && wanted "${given[0]}" int && a=$value && wanted "${given[1]}" int && b=$value || return 1
    ((b >= 0 ? a + b >= a : a + b < a)) || failed limit_exceeded "a sum of more than 64 bits" || return 1
    pack_int $((a + b))
}

tool_fail() {
    want message && wanted "${given[0]}" text || return 1
    code=tool_execution_failed message=$value
    return 1
}

tool_words() {
    want text && wanted "${given[0]}" text && pack_int "$(put "$value" | wc -w)"
}

for tool in echo add fail words; do
    hex_of "$tool"
    tools[$hex]=$tool
done

# ---- the loop ----

# Nanoseconds of the clock that deadlines are of: what the host has said, and what has passed since. (Where the machine sleeps meanwhile, that counts too.)
clock() {
    local up
    read -r up _ </proc/uptime
    now=$((10#${up/./} * 10000000 + offset))
}

answer() {
    local id=$1 stamp=$2 flags=$3 streams=$4 began took=0
    code=internal message=
    if run; then
        ((flags & 2)) && clock && took=$((now > began ? now - began : 1))
        ((${#packed} / 2 + 24 <= max_frame)) && { send $RESULT "$id" $took "$packed"; return; }
        failed limit_exceeded "an answer of more than $max_frame bytes"
    fi
    ((flags & 2)) && took=1
    local text=$message
    pack_text code && data=82$packed && pack_text "$code" && data+=$packed
    pack_text message && data+=$packed && pack_hex "$text"
    send $ERROR "$id" $took "$data$packed"
}

run() {
    clock
    began=$now
    # a stamp of 2^63 and more is later than any clock
    ((stamp <= 0 || now < stamp)) || failed deadline_exceeded "the deadline had passed" || return 1
    at=0
    take_call || failed invalid_parameter "the arguments cannot be read" || return 1
    [[ -n ${tools[$name]} ]] || failed tool_not_found "there is no such tool" || return 1
    ((!streams)) || failed streaming_not_supported "the tool ${tools[$name]} does not stream" || return 1
    "tool_${tools[$name]}"
}

# The next frame: $kind_of, $flags, $id, $stamp, and the payload in $data.
hear() {
    local head total fields
    receive 24
    while [[ $bytes == 00* ]]; do # bells
        head=$bytes
        while [[ $head == 00* ]]; do head=${head:2}; done
        receive $((24 - ${#head} / 2))
        bytes=$head$bytes
    done
    head=$bytes
    little "${head:4:4}" && flags=$number
    little "${head:8:8}" && total=$number
    little "${head:32:16}" && stamp=$number
    kind_of=${head:2:2} id=${head:16:16} data=
    [[ $head == 01* ]] && ((!(flags & ~15) && total >= 24 && total <= max_frame)) || exit 1
    ((total == 24)) || { receive $((total - 24)) && data=$bytes; }
    if ((flags & 1)); then
        ((${#data} >= 8)) || exit 1
        little "${data:0:8}" && fields=$number
        ((8 + 2 * fields <= ${#data})) || exit 1
        data=${data:8+2*fields}
    fi
}

greet() {
    local secret= key n
    ((segment < 0)) || secret=$(od -An -v -tx1 -j 40 -N 16 "/dev/fd/$segment" | tr -d ' \n')
    data=85
    for key in protocol_min protocol_max; do pack_text $key && data+=${packed}01; done
    pack_text pid && data+=$packed && pack_int $$ && data+=$packed
    pack_text secret && data+=${packed} && printf -v packed c4%02x $((${#secret} / 2)) && data+=$packed$secret
    pack_text channels && data+=${packed}91 && pack_text socket && data+=$packed
    send $HELLO 0000000000000000 0 "$data"
    hear
    [[ $kind_of == "$STOP" ]] && exit 0
    at=0
    [[ $kind_of == "$WELCOME" ]] && take && [[ $kind == map ]] && n=$count && take_named "$n" || exit 1
    hex_of max_frame_bytes && wanted "${named[$hex]}" int && max_frame=$value
    offset=0 && clock
    hex_of now_ns && wanted "${named[$hex]}" int && offset=$((value - now))
}

announce() {
    local tool
    pack_text capabilities && data=82${packed}91 && pack_text ping && data+=$packed
    pack_text tools && data+=$packed && printf -v packed 9%x ${#tools[@]} && data+=$packed
    for tool in "${tools[@]}"; do pack_text name && data+=81$packed && pack_text "$tool" && data+=$packed; done
    send $READY 0000000000000000 0 "$data"
}

greet
announce
while :; do
    hear
    case $kind_of in
    "$CALL") answer "$id" "$stamp" "$flags" 0 ;;
    "$STREAM_CALL") answer "$id" "$stamp" "$flags" 1 ;;
    "$PING") send $PONG "$id" 0 '' ;;
    "$STOP") exit 0 ;;
    *) [[ $DROPPED == *" $kind_of "* ]] || exit 1 ;;
    esac
done
