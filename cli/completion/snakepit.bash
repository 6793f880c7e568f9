# bash completion for snakepit: source it, or install it as /usr/share/bash-completion/completions/snakepit
_snakepit() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command= i
    local global='--output --no-color --help --version'
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
            call | tools | gen | crash | blackbox | worker | worker-check | doctor | bench | help) command=${COMP_WORDS[i]} && break ;;
        esac
    done
    case $before in
        -o | --output) COMPREPLY=($(compgen -W 'json text' -- "$word")) && return ;;
        -a | --adapter) COMPREPLY=($(compgen -f -X '!*.py' -- "$word") $(compgen -d -- "$word")) && return ;;
        -d | --dir | --data-dir) COMPREPLY=($(compgen -d -- "$word")) && return ;;
        --python) COMPREPLY=($(compgen -f -- "$word")) && return ;;
        -t | --timeout | -p | --pool | --pid | -i | --instance | -n | --count | --last | -s | --session | -w | --workers) return ;;
    esac
    case $command in
        call) COMPREPLY=($(compgen -W "--adapter --timeout --pool --session --workers --stream --python --verbose $global" -- "$word")) ;;
        tools) COMPREPLY=($(compgen -W "--adapter --python --verbose $global" -- "$word")) ;;
        gen) COMPREPLY=($(compgen -W "adapter --threaded $global" -- "$word")) ;;
        crash) COMPREPLY=($(compgen -W "list show --dir --pool --count $global" -- "$word")) ;;
        blackbox) COMPREPLY=($(compgen -W "dump --pid --instance --last --data-dir $global" -- "$word")) ;;
        worker) COMPREPLY=($(compgen -W "stack --pid --data-dir $global" -- "$word")) ;;
        worker-check) COMPREPLY=($(compgen -W "--adapter --python --timeout $global" -- "$word")) ;;
        doctor) COMPREPLY=($(compgen -W "--adapter --python $global" -- "$word")) ;;
        help) COMPREPLY=($(compgen -W 'call tools gen crash blackbox worker worker-check doctor bench help' -- "$word")) ;;
        bench) ;;
        *) COMPREPLY=($(compgen -W "call tools gen crash blackbox worker worker-check doctor bench help $global" -- "$word")) ;;
    esac
}
complete -F _snakepit snakepit
