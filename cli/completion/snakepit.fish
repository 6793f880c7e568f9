# fish completion for snakepit: install it as ~/.config/fish/completions/snakepit.fish
set -l commands call tools gen crash blackbox worker worker-check doctor bench help
complete -c snakepit -f
complete -c snakepit -n "not __fish_seen_subcommand_from $commands" -a call -d 'call a command of a Python worker'
complete -c snakepit -n "not __fish_seen_subcommand_from $commands" -a tools -d 'list the tools of an adapter'
complete -c snakepit -n "not __fish_seen_subcommand_from $commands" -a gen -d 'begin an adapter'
complete -c snakepit -n "not __fish_seen_subcommand_from $commands" -a crash -d 'why workers have died'
complete -c snakepit -n "not __fish_seen_subcommand_from $commands" -a blackbox -d 'what workers did last'
complete -c snakepit -n "not __fish_seen_subcommand_from $commands" -a worker -d 'what a worker is doing'
complete -c snakepit -n "not __fish_seen_subcommand_from $commands" -a worker-check -d 'does a worker in any language keep to the protocol'
complete -c snakepit -n "not __fish_seen_subcommand_from $commands" -a doctor -d 'check whether workers can run here'
complete -c snakepit -n "not __fish_seen_subcommand_from $commands" -a bench -d 'measure calls'
complete -c snakepit -n "not __fish_seen_subcommand_from $commands" -a help -d 'what a command does'
complete -c snakepit -n "__fish_seen_subcommand_from help" -a "$commands"
complete -c snakepit -s o -l output -x -a 'json text' -d 'how results and errors are written'
complete -c snakepit -l no-color -d 'no colours'
complete -c snakepit -s h -l help -d 'help'
complete -c snakepit -l version -d 'the version'
complete -c snakepit -n "__fish_seen_subcommand_from call tools doctor worker-check" -s a -l adapter -r -F -d 'what to run'
complete -c snakepit -n "__fish_seen_subcommand_from call tools doctor worker-check" -l python -r -F -d 'the interpreter'
complete -c snakepit -n "__fish_seen_subcommand_from call worker-check" -s t -l timeout -x -d 'for everything'
complete -c snakepit -n "__fish_seen_subcommand_from call crash" -s p -l pool -x -d 'the pool'
complete -c snakepit -n "__fish_seen_subcommand_from call" -s s -l session -x -d 'the session'
complete -c snakepit -n "__fish_seen_subcommand_from call" -s w -l workers -x -d 'workers of the pool'
complete -c snakepit -n "__fish_seen_subcommand_from call" -l stream -d 'each chunk as it is produced'
complete -c snakepit -n "__fish_seen_subcommand_from call tools" -s v -l verbose -d 'what happens when'
complete -c snakepit -n "__fish_seen_subcommand_from gen" -a adapter
complete -c snakepit -n "__fish_seen_subcommand_from gen" -l threaded -d 'for several calls at a time'
complete -c snakepit -n "__fish_seen_subcommand_from crash" -a 'list show'
complete -c snakepit -n "__fish_seen_subcommand_from crash" -s d -l dir -r -F -d 'the folder of dossiers'
complete -c snakepit -n "__fish_seen_subcommand_from crash" -s n -l count -x -d 'at most so many'
complete -c snakepit -n "__fish_seen_subcommand_from blackbox" -a dump
complete -c snakepit -n "__fish_seen_subcommand_from blackbox" -s p -l pid -x -a '(__fish_complete_pids)' -d 'of this host alone'
complete -c snakepit -n "__fish_seen_subcommand_from blackbox" -s i -l instance -x -d 'of hosts of this instance alone'
complete -c snakepit -n "__fish_seen_subcommand_from blackbox" -s n -l last -x -d 'events of each worker'
complete -c snakepit -n "__fish_seen_subcommand_from blackbox" -s d -l data-dir -r -F -d 'the folder of the registry'
complete -c snakepit -n "__fish_seen_subcommand_from worker" -a stack
complete -c snakepit -n "__fish_seen_subcommand_from worker" -s p -l pid -x -a '(__fish_complete_pids)' -d 'of the host with this process id'
complete -c snakepit -n "__fish_seen_subcommand_from worker" -s d -l data-dir -r -F -d 'the folder of the registry'
