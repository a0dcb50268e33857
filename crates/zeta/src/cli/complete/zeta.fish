# Completions of zeta for fish: zeta itself answers what may follow.
function __zeta_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l found ($words[1] __complete -- $words[2..-1] "$current" 2>/dev/null)
    if test (count $found) -gt 0
        string join \n -- $found
    else
        __fish_complete_path "$current"
    end
end
complete -c zeta -f -a '(__zeta_complete)'
