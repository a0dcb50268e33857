# Completions of zeta for bash: zeta itself answers what may follow.
_zeta() {
    local IFS=$'\n' line
    COMPREPLY=()
    for line in $("${COMP_WORDS[0]}" __complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null); do
        COMPREPLY+=("$(printf %q "${line%%$'\t'*}")")
    done
}
complete -o default -o bashdefault -F _zeta zeta
