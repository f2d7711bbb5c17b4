# A manual page (man(7)) from a command's --help page. Variables: command ("" for the program itself), summary, version,
# date, see (names of pages). A second help page, if one is given, becomes the section named by its title.
function escape(text) {
    gsub(/\\/, "\\e", text)
    gsub(/-/, "\\-", text)
    if (text ~ /^[.']/) text = "\\&" text
    return text
}
# Running text: `names` are bold.
function prose(text,    out, part, bold) {
    out = ""
    bold = 0
    while (match(text, /`/)) {
        part = substr(text, 1, RSTART - 1)
        out = out escape(part) (bold ? "\\fR" : "\\fB")
        bold = !bold
        text = substr(text, RSTART + 1)
    }
    return out escape(text) (bold ? "\\fR" : "")
}
function section(name) {
    if (now == name) return
    print ".SH " name
    now = name
    fresh = 1
}
function paragraph() {
    if (!fresh) print ".PP"
    fresh = 0
}
# Column in which descriptions of the list stand that begins at line n: that of a continuation, or behind the widest gap.
function find_column(n,    i, widest) {
    for (i = n; i <= lines && line[i] != ""; i++) {
        if (match(line[i], /^ +/) && RLENGTH >= 6) return RLENGTH + 1
    }
    for (i = n; i <= lines && line[i] != ""; i++) {
        if (match(line[i], /[^ ]   *[^ -]/) && RSTART + RLENGTH - 1 > widest) widest = RSTART + RLENGTH - 1
    }
    return widest
}
function item(text,    tag, rest) {
    if (substr(text, column - 1, 1) == " " && substr(text, column, 1) != " ") {
        tag = substr(text, 1, column - 1)
        rest = substr(text, column)
    } else if (match(text, /   +[^ ]/) && RSTART > 3) {
        tag = substr(text, 1, RSTART - 1)
        rest = substr(text, RSTART + RLENGTH - 1)
    } else if (match(text, /^ *[^ ]+( [A-Z]+)? /)) {
        tag = substr(text, 1, RLENGTH)
        rest = substr(text, RLENGTH + 1)
    } else {
        tag = text
        rest = ""
    }
    gsub(/^ +| +$/, "", tag)
    sub(/^ +/, "", rest)
    print ".TP"
    print "\\fB" escape(tag) "\\fR"
    if (rest != "") print prose(rest)
    fresh = 0
}
{ sub(/ +$/, ""); line[++lines] = $0 }
END {
    title = command == "" ? "casemix" : "casemix-" command
    print ".\\\" Made from `casemix " (command == "" ? "" : command " ") "--help`."
    printf ".TH %s 1 \"%s\" \"casemix %s\" \"User Commands\"\n", escape(toupper(title)), date, version
    print ".SH NAME"
    print escape(title) " \\- " prose(summary)
    behind_options = 0
    for (i = 1; i <= lines; i++) {
        text = line[i]
        if (text ~ /^usage: /) {
            if (second++) {
                print ".SH \"WITH A MODEL THAT WRITES\""
                now = "WRITES"
            } else {
                section("SYNOPSIS")
            }
            print ".nf"
            for (; line[i] != "" && i <= lines; i++) print escape(substr(line[i], 8))
            print ".fi"
            if (now == "WRITES") { fresh = 0; behind_options = 0 }
            continue
        }
        if (text == "") { list = 0; continue }
        if (text ~ /^  [a-z`]/ && (command != "" || text ~ /^  casemix /)) {
            for (; i <= lines && line[i] ~ /^  /; i++) example[++examples] = substr(line[i], 3)
            i--
            continue
        }
        if (text ~ /^  (-|[A-Z])/ || text ~ /^[a-z-]+   *[^ ]/ || (command == "" && text ~ /^  [a-z]/)) {
            if (!list) {
                column = find_column(i)
                if (now == "SYNOPSIS") section("DESCRIPTION")
                if (now == "DESCRIPTION" && text ~ /^  -|^  [A-Z]/) section("OPTIONS")
                if (now == "DESCRIPTION" && command == "") section("COMMANDS")
                list = 1
            }
            item(text)
            continue
        }
        if (list && text ~ /^      /) {
            sub(/^ +/, "", text)
            print prose(text)
            continue
        }
        if (now == "") section("DESCRIPTION")
        if (now == "SYNOPSIS") section("DESCRIPTION")
        if (now == "OPTIONS" || now == "COMMANDS") section("NOTES")
        if (line[i - 1] == "") paragraph()
        sub(/^ +/, "", text)
        print prose(text)
    }
    if (command == "") {
        section("EXIT STATUS")
        print "0: done. 1: it failed; standard error says what, where and how to mend it. 2: wrong usage."
        section("FILES")
        print "Shipped models, recipes and tables are in share/casemix beside the folder of the program;"
        print "\\fB\\-\\-model\\fR takes a shipped model by its name."
    }
    if (examples > 0) {
        print ".SH EXAMPLES"
        print ".EX"
        for (i = 1; i <= examples; i++) print escape(example[i])
        print ".EE"
    }
    print ".SH SEE ALSO"
    count = split(see, pages, " ")
    for (i = 1; i <= count; i++) printf "\\fB%s\\fR(1)%s\n", escape(pages[i]), i < count ? "," : ""
}
