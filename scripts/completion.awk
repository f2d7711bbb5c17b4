# Completion for a shell (bash, zsh or fish: the variable `shell`) from help pages. Each page is led by a line
# "#command NAME SUMMARY"; models: names of shipped models.
function add(list, word) {
    return index(" " list " ", " " word " ") ? list : list (list == "" ? "" : " ") word
}
# Alternatives A|B behind an option become its values.
function take_options(text,    option, rest, value) {
    gsub(/`[^`]*`/, "", text)
    while (match(text, /--[a-z][a-z0-9-]*/)) {
        option = substr(text, RSTART, RLENGTH)
        rest = substr(text, RSTART + RLENGTH)
        options[name] = add(options[name], option)
        if (match(rest, /^ [a-z0-9.]+(\|[a-z0-9.-]+)+/)) {
            value = substr(rest, 2, RLENGTH - 1)
            gsub(/\|/, " ", value)
            values[option] = value
        }
        if (option == "--compute") values[option] = "auto f32 bf16 int8"
        text = rest
    }
}
function quote(text) {
    gsub(/'/, "'\\''", text)
    return "'" text "'"
}
/^#command / {
    name = $2
    names[++count] = name
    summary = $0
    sub(/^#command [^ ]+ /, "", summary)
    summaries[name] = summary
    in_usage = 0
    next
}
/^  (casemix|cat|echo|printf|mpirun|zcat) / { example = 1; next }
example && /^   / { next }
{ example = 0 }
/^usage: / { in_usage = 1 }
/^$/ { in_usage = 0 }
in_usage {
    for (i = 1; i < NF; i++) {
        if ($i != "casemix" || $(i + 1) != name || $(i + 2) !~ /^[a-z][a-z|-]*$/) continue
        parts = split($(i + 2), part, "|")
        for (j = 1; j <= parts; j++) actions[name] = add(actions[name], part[j])
    }
}
{ take_options($0) }
END {
    all = ""
    for (i = 1; i <= count; i++) {
        all = add(all, names[i])
        options[names[i]] = add(options[names[i]], "--help")
    }
    if (shell == "bash") bash()
    if (shell == "zsh") zsh()
    if (shell == "fish") fish()
}
function bash(    i, option) {
    print "# bash completion for casemix; made from its --help pages."
    print "_casemix() {"
    print "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} options= actions="
    print "    COMPREPLY=()"
    print "    if [ \"$COMP_CWORD\" -eq 1 ]; then"
    print "        COMPREPLY=($(compgen -W '" all " --help --version' -- \"$word\"))"
    print "        return"
    print "    fi"
    print "    case $before in"
    print "    --model) COMPREPLY=($(compgen -W '" models "' -- \"$word\") $(compgen -d -- \"$word\")); return ;;"
    for (option in values) print "    " option ") COMPREPLY=($(compgen -W '" values[option] "' -- \"$word\")); return ;;" | "LC_ALL=C sort"
    close("LC_ALL=C sort")
    print "    esac"
    print "    case ${COMP_WORDS[1]} in"
    for (i = 1; i <= count; i++)
        print "    " names[i] ") options='" options[names[i]] "' actions='" actions[names[i]] "' ;;"
    print "    esac"
    print "    case $word in"
    print "    -*) COMPREPLY=($(compgen -W \"$options\" -- \"$word\")) ;;"
    print "    *)"
    print "        [ \"$COMP_CWORD\" -eq 2 ] && COMPREPLY=($(compgen -W \"$actions\" -- \"$word\"))"
    print "        COMPREPLY+=($(compgen -f -- \"$word\"))"
    print "        ;;"
    print "    esac"
    print "}"
    print "complete -o filenames -F _casemix casemix"
}
function zsh(    i, option, described) {
    print "#compdef casemix"
    print "# zsh completion for casemix; made from its --help pages."
    print "_casemix() {"
    print "    local -a commands options actions"
    print "    commands=("
    for (i = 1; i <= count; i++) {
        described = summaries[names[i]]
        gsub(/:/, "\\:", described)
        print "        " quote(names[i] ":" described)
    }
    print "    )"
    print "    if (( CURRENT == 2 )); then"
    print "        _describe command commands"
    print "        return"
    print "    fi"
    print "    case ${words[CURRENT-1]} in"
    print "    --model) compadd -- " models "; _files -/; return ;;"
    for (option in values) print "    " option ") compadd -- " values[option] "; return ;;" | "LC_ALL=C sort"
    close("LC_ALL=C sort")
    print "    esac"
    print "    case ${words[2]} in"
    for (i = 1; i <= count; i++)
        print "    " names[i] ") options=(" options[names[i]] ") actions=(" actions[names[i]] ") ;;"
    print "    esac"
    print "    if [[ ${words[CURRENT]} == -* ]]; then"
    print "        compadd -- $options"
    print "    else"
    print "        (( CURRENT == 3 && $#actions )) && compadd -- $actions"
    print "        _files"
    print "    fi"
    print "}"
    print "_casemix \"$@\""
}
function fish(    i, j, parts, part, condition) {
    print "# fish completion for casemix; made from its --help pages."
    for (i = 1; i <= count; i++)
        print "complete -c casemix -n __fish_use_subcommand -f -a " names[i] " -d " quote(summaries[names[i]])
    for (i = 1; i <= count; i++) {
        condition = " -n '__fish_seen_subcommand_from " names[i] "'"
        if (actions[names[i]] != "") print "complete -c casemix" condition " -a '" actions[names[i]] "'"
        parts = split(options[names[i]], part, " ")
        for (j = 1; j <= parts; j++) {
            printf "complete -c casemix%s -l %s", condition, substr(part[j], 3)
            if (part[j] == "--model") printf " -x -a '%s (__fish_complete_directories)'", models
            else if (part[j] in values) printf " -x -a '%s'", values[part[j]]
            print ""
        }
    }
}
