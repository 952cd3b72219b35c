# usage: zsh -f capture.zsh DIRECTORY LINE...
# Prints what an interactive zsh offers after each LINE: a word a line, and a "=" after each LINE.
# The completions are those in DIRECTORY.
zmodload zsh/zpty
directory=$1 lines=("${@:2}") offered=$(mktemp) setup=$(mktemp)
{
    typeset -p directory lines offered
    cat <<'END'
fpath=($directory $fpath)
autoload -Uz compinit && compinit -u -D
setopt no_auto_list no_auto_menu no_beep

compadd() {
    local -a words
    if [[ ${@[1,(i)(-|--)]} != *-(O|A|D)\ * ]]; then
        builtin compadd -A words "$@"
        print -lr -- $words >>$offered
    fi
    builtin compadd "$@"
}

offer() {
    for BUFFER in $lines; do
        CURSOR=$#BUFFER
        zle complete-word
        print = >>$offered
    done
    exit
}

zle -N zle-line-init offer
END
} >$setup
zpty shell zsh -f -i
zpty -w shell "source $setup"
while zpty -r shell; do :; done >/dev/null
cat $offered
rm $offered $setup
