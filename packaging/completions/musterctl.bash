# bash completion for musterctl

_musterctl() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
    local verbs="list status explain top pressure events register release heartbeat hold protect unprotect
        terminate resume run reaper gate claim hooks doctor hook"
    local common="--system --user --bus --host --json --no-legend --no-pager --help"
    local agents="claude-code codex gemini pi opencode aider other"
    local hooked="claude-code codex gemini pi opencode"
    local word verb="" part="" scope=() i options="" words=""

    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        case $word in
            --) return ;;
            --bus|--host|-H) scope+=("$word" "${COMP_WORDS[++i]}") ;;
            --system|--user) scope+=("$word") ;;
            -*) ;;
            *)
                if [[ -z $verb ]]; then verb=$word
                elif [[ -z $part && $verb =~ ^(reaper|gate|claim|hooks)$ ]]; then part=$word
                fi ;;
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
        case "$verb $part" in
            " ") options="--version" ;;
            "list ") options="--all --quiet" ;;
            "top ") options="--interval" ;;
            "events ") options="--follow --lines" ;;
            "register ") options="--agent --pid --cwd --agent-session-id --transcript --terminal --title --on-host --label" ;;
            "hold ") options="--what --mode --why --all" ;;
            "terminate ") options="--why" ;;
            "resume ") options="--all --yes" ;;
            "run ") options="--label" ;;
            "reaper mode"|"gate mode"|"gate kill-switch") options="--why" ;;
            "reaper history"|"gate history") options="--lines" ;;
            "claim start") options="--task --budget --deadline --item --session" ;;
            "claim update") options="--task --item --tick" ;;
        esac
        COMPREPLY=($(compgen -W "$options $common" -- "$cur"))
        return
    fi

    case "$verb $part" in
        " ") words=$verbs ;;
        "status "|"events "|"resume "|"claim list") words=$(musterctl "${scope[@]}" list --quiet --all 2>/dev/null) ;;
        "explain "|"release "|"heartbeat "|"hold "|"protect "|"unprotect "|"terminate ")
            words=$(musterctl "${scope[@]}" list --quiet 2>/dev/null) ;;
        "reaper ") words="mode history" ;;
        "reaper mode") words="off dry-run on" ;;
        "gate ") words="mode kill-switch history" ;;
        "gate mode") words="off shadow enforce" ;;
        "gate kill-switch") words="on off" ;;
        "claim ") words="start update done abandon list" ;;
        "claim update"|"claim done"|"claim abandon")
            words=$(musterctl "${scope[@]}" claim list --no-legend 2>/dev/null | awk '$3 == "active" { print $1 }') ;;
        "hooks ") words="install uninstall status" ;;
        "hooks "*) words=$hooked ;;
        "hook ") [[ $prev != hook ]] || words=$agents ;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
}

complete -F _musterctl musterctl
