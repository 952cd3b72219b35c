# bash completion for musterctl

_musterctl() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
    local verbs="list status explain top pressure events register release heartbeat hold protect unprotect
        terminate resume run reaper gate claim hooks doctor hook"
    local common="--system --user --bus --host --json --no-legend --no-pager --help"
    local agents="claude-code codex gemini pi opencode aider other"
    local hooked="claude-code codex gemini pi opencode"
    local word verb="" scope=() i options=""

    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        case $word in
            --) return ;;
            --bus|--host|-H) scope+=("$word" "${COMP_WORDS[++i]}") ;;
            --system|--user) scope+=("$word") ;;
            -*) ;;
            *) [[ -n $verb ]] || verb=$word ;;
        esac
    done

    case $prev in
        --bus|--host|-H|--pid|--title|--label|--why|--terminal|--agent-session-id|--on-host|--interval|-n|--lines|--task|--deadline|--item|--tick)
            return ;;
        --agent) COMPREPLY=($(compgen -W "$agents" -- "$cur")); return ;;
        --mode) COMPREPLY=($(compgen -W "block delay" -- "$cur")); return ;;
        --what) COMPREPLY=($(compgen -W "reap stop reap:stop" -- "$cur")); return ;;
        --budget) COMPREPLY=($(compgen -W "small medium large" -- "$cur")); return ;;
        --session) COMPREPLY=($(compgen -W "$(musterctl "${scope[@]}" list --quiet 2>/dev/null)" -- "$cur")); return ;;
        --cwd) COMPREPLY=($(compgen -d -- "$cur")); return ;;
        --transcript) COMPREPLY=($(compgen -f -- "$cur")); return ;;
    esac

    if [[ $cur == -* ]]; then
        case $verb in
            list) options="--all --quiet" ;;
            top) options="--interval" ;;
            events) options="--follow --lines" ;;
            register) options="--agent --pid --cwd --agent-session-id --transcript --terminal --title --on-host --label" ;;
            hold) options="--what --mode --why --all" ;;
            terminate) options="--why" ;;
            resume) options="--all" ;;
            run) options="--label" ;;
            reaper|gate) options="--why --lines" ;;
            claim) options="--task --budget --deadline --session --item --tick" ;;
            "") options="--version" ;;
        esac
        COMPREPLY=($(compgen -W "$options $common" -- "$cur"))
        return
    fi

    case $verb in
        "") COMPREPLY=($(compgen -W "$verbs" -- "$cur")) ;;
        status|events|resume)
            COMPREPLY=($(compgen -W "$(musterctl "${scope[@]}" list --quiet --all 2>/dev/null)" -- "$cur")) ;;
        explain|release|heartbeat|hold|protect|unprotect|terminate)
            COMPREPLY=($(compgen -W "$(musterctl "${scope[@]}" list --quiet 2>/dev/null)" -- "$cur")) ;;
        reaper)
            case $prev in
                reaper) COMPREPLY=($(compgen -W "mode history" -- "$cur")) ;;
                mode) COMPREPLY=($(compgen -W "off dry-run on" -- "$cur")) ;;
            esac ;;
        gate)
            case $prev in
                gate) COMPREPLY=($(compgen -W "mode kill-switch history" -- "$cur")) ;;
                mode) COMPREPLY=($(compgen -W "off shadow enforce" -- "$cur")) ;;
                kill-switch) COMPREPLY=($(compgen -W "on off" -- "$cur")) ;;
            esac ;;
        claim)
            case $prev in
                claim) COMPREPLY=($(compgen -W "start update done abandon list" -- "$cur")) ;;
                list) COMPREPLY=($(compgen -W "$(musterctl "${scope[@]}" list --quiet --all 2>/dev/null)" -- "$cur")) ;;
                *) COMPREPLY=($(compgen -W "$(musterctl "${scope[@]}" claim list --no-legend 2>/dev/null | cut -d' ' -f1)" -- "$cur")) ;;
            esac ;;
        hooks)
            case $prev in
                hooks) COMPREPLY=($(compgen -W "install uninstall status" -- "$cur")) ;;
                *) COMPREPLY=($(compgen -W "$hooked" -- "$cur")) ;;
            esac ;;
        hook) [[ $prev != hook ]] || COMPREPLY=($(compgen -W "$agents" -- "$cur")) ;;
    esac
}

complete -F _musterctl musterctl
