#compdef zeta
# Completions of zeta for zsh: zeta itself answers what may follow.
_zeta() {
    local line
    local -a found
    for line in "${(@f)$("${words[1]}" __complete -- "${(@Q)words[2,CURRENT]}" 2>/dev/null)}"; do
        [[ -n $line ]] && found+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
    done
    if (( $#found )); then
        _describe -V zeta found
    else
        _files
    fi
}
if [ "$funcstack[1]" = "_zeta" ]; then
    _zeta "$@"
else
    compdef _zeta zeta
fi
