# fish completion for musterctl

# The verb, its part and the rest, without options.
function __musterctl_words
    set -l words (commandline -opc)
    set -l skip 1 # musterctl
    for word in $words
        if test $skip = 1
            set skip 0
            continue
        end
        switch $word
            case --bus --host -H
                set skip 1
            case '-*'
            case '*'
                echo $word
        end
    end
end

# Whether one of these is the verb, or VERB:PART is.
function __musterctl_at
    set -l words (__musterctl_words) '' ''
    contains -- $words[1] $argv; or contains -- "$words[1]:$words[2]" $argv
end

function __musterctl_scope
    set -l words (commandline -opc)
    for i in (seq 2 (count $words))
        switch $words[$i]
            case --system --user
                echo $words[$i]
            case --bus --host -H
                echo $words[$i]
                echo $words[(math $i + 1)]
        end
    end
end

function __musterctl_ids
    musterctl (__musterctl_scope) list --quiet $argv 2>/dev/null
end

function __musterctl_claims
    musterctl (__musterctl_scope) claim list --no-legend 2>/dev/null | string match -r '^\S+(?=\s+\S+\s+active\s)'
end

set -l agents claude-code codex gemini pi opencode aider other

complete -c musterctl -f
complete -c musterctl -l system -d 'the daemon of the system bus'
complete -c musterctl -l user -d 'the daemon of your session bus'
complete -c musterctl -l bus -x -d 'the daemon of that bus'
complete -c musterctl -s H -l host -x -a '(__fish_print_hostnames)' -d 'the daemon of another host'
complete -c musterctl -l json -d 'for programs'
complete -c musterctl -l no-legend -d 'neither headings nor sums'
complete -c musterctl -l no-pager -d 'print all at once'
complete -c musterctl -s h -l help -d 'show help'
complete -c musterctl -n "__musterctl_at ''" -l version -d 'show the version'

complete -c musterctl -n "__musterctl_at ''" -a list -d 'list the sessions'
complete -c musterctl -n "__musterctl_at ''" -a status -d 'show how the daemon does, or one session'
complete -c musterctl -n "__musterctl_at ''" -a explain -d 'say why a session would be kept or reaped'
complete -c musterctl -n "__musterctl_at ''" -a top -d 'show the roll live'
complete -c musterctl -n "__musterctl_at ''" -a pressure -d 'show the memory pressure'
complete -c musterctl -n "__musterctl_at ''" -a events -d 'show what happened'
complete -c musterctl -n "__musterctl_at ''" -a register -d 'put a session on the roll'
complete -c musterctl -n "__musterctl_at ''" -a release -d 'take sessions off the roll'
complete -c musterctl -n "__musterctl_at ''" -a heartbeat -d 'say that sessions of another host live'
complete -c musterctl -n "__musterctl_at ''" -a hold -d 'keep a session while a command runs'
complete -c musterctl -n "__musterctl_at ''" -a protect -d 'pin sessions'
complete -c musterctl -n "__musterctl_at ''" -a unprotect -d 'let pinned sessions be reaped again'
complete -c musterctl -n "__musterctl_at ''" -a terminate -d 'end sessions'
complete -c musterctl -n "__musterctl_at ''" -a resume -d 'bring ended sessions back'
complete -c musterctl -n "__musterctl_at ''" -a run -d 'start an agent in a scope of its own'
complete -c musterctl -n "__musterctl_at ''" -a reaper -d 'show what the reaper would do, or set its mode'
complete -c musterctl -n "__musterctl_at ''" -a gate -d 'show whether and how turns are held, or set that'
complete -c musterctl -n "__musterctl_at ''" -a claim -d 'show what sessions have claimed, or claim a task'
complete -c musterctl -n "__musterctl_at ''" -a hooks -d "musterd's hooks in the settings of agents"
complete -c musterctl -n "__musterctl_at ''" -a doctor -d 'look for what is wrong'
complete -c musterctl -n "__musterctl_at ''" -a hook -d "report an agent's hook"

complete -c musterctl -n '__musterctl_at status events resume claim:list' -a '(__musterctl_ids --all)'
complete -c musterctl -n '__musterctl_at explain release heartbeat hold protect unprotect terminate' -a '(__musterctl_ids)'
complete -c musterctl -n '__musterctl_at list' -s a -l all -d 'also those that ended'
complete -c musterctl -n '__musterctl_at list' -s q -l quiet -d 'ids only'
complete -c musterctl -n '__musterctl_at top' -l interval -x -d 'seconds between refreshes'
complete -c musterctl -n '__musterctl_at events' -s f -l follow -d 'and go on as it happens'
complete -c musterctl -n '__musterctl_at events reaper:history gate:history' -s n -l lines -x -d 'how many'
complete -c musterctl -n '__musterctl_at hold' -l what -x -a 'reap stop reap:stop' -d 'what is not to happen'
complete -c musterctl -n '__musterctl_at hold' -l mode -x -a 'block delay' -d 'how'
complete -c musterctl -n '__musterctl_at hold' -l all -d 'all your sessions'
complete -c musterctl -n '__musterctl_at resume' -l all -d 'all that ended without your will'
complete -c musterctl -n '__musterctl_at resume' -s y -l yes -d 'do not ask about those that came back often'
complete -c musterctl -n '__musterctl_at hold terminate reaper:mode gate:mode gate:kill-switch' -l why -x -d 'reason'
complete -c musterctl -n '__musterctl_at register' -l agent -x -a "$agents" -d 'which agent it is'
complete -c musterctl -n '__musterctl_at register' -l pid -x -a '(__fish_complete_pids)' -d 'its process'
complete -c musterctl -n '__musterctl_at register' -l cwd -x -a '(__fish_complete_directories)' -d 'its directory'
complete -c musterctl -n '__musterctl_at register' -l agent-session-id -x -d 'its own id'
complete -c musterctl -n '__musterctl_at register' -l transcript -r -F -d 'its record'
complete -c musterctl -n '__musterctl_at register' -l terminal -x -d 'tmux:SOCKET:PANE or a tty'
complete -c musterctl -n '__musterctl_at register' -l title -x -d 'for people'
complete -c musterctl -n '__musterctl_at register' -l on-host -x -d 'where it runs'
complete -c musterctl -n '__musterctl_at register run' -l label -x -d 'for scripts'
complete -c musterctl -n '__musterctl_at reaper:' -a 'mode history'
complete -c musterctl -n '__musterctl_at reaper:mode' -a 'off dry-run on'
complete -c musterctl -n '__musterctl_at gate:' -a 'mode kill-switch history'
complete -c musterctl -n '__musterctl_at gate:mode' -a 'off shadow enforce'
complete -c musterctl -n '__musterctl_at gate:kill-switch' -a 'on off'
complete -c musterctl -n '__musterctl_at claim:' -a 'start update done abandon list'
complete -c musterctl -n '__musterctl_at claim:update claim:done claim:abandon' -a '(__musterctl_claims)'
complete -c musterctl -n '__musterctl_at claim:start claim:update' -l task -x -d 'what is to be done'
complete -c musterctl -n '__musterctl_at claim:start' -l budget -x -a 'small medium large' -d 'how often it may be held'
complete -c musterctl -n '__musterctl_at claim:start' -l deadline -x -d 'how long it may be held'
complete -c musterctl -n '__musterctl_at claim:start' -l session -x -a '(__musterctl_ids)' -d 'whose'
complete -c musterctl -n '__musterctl_at claim:start claim:update' -l item -x -d 'to be done for it'
complete -c musterctl -n '__musterctl_at claim:update' -l tick -x -d 'an item that is done'
complete -c musterctl -n '__musterctl_at hooks:' -a 'install uninstall status'
complete -c musterctl -n '__musterctl_at hooks:install hooks:uninstall hooks:status' -a 'claude-code codex gemini pi opencode'
complete -c musterctl -n '__musterctl_at hook:' -a "$agents"
