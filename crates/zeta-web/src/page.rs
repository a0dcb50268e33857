//! The files of the page, as they are in `page/`: no build step, and nothing from elsewhere.

/// The page, with `{nonce}` where a script or a style is loaded, and `{base}` before its files.
const INDEX: &str = include_str!("page/index.html");

/// The other files, by their names.
const FILES: &[(&str, &str)] = &[
    ("app.js", include_str!("page/app.js")),
    ("cluster.css", include_str!("page/cluster.css")),
    ("cluster.js", include_str!("page/cluster.js")),
    ("clock.js", include_str!("page/clock.js")),
    ("details.js", include_str!("page/details.js")),
    ("dom.js", include_str!("page/dom.js")),
    ("drag.js", include_str!("page/drag.js")),
    ("filter.js", include_str!("page/filter.js")),
    ("frame.js", include_str!("page/frame.js")),
    ("grid.js", include_str!("page/grid.js")),
    ("icon.svg", include_str!("page/icon.svg")),
    ("keys.js", include_str!("page/keys.js")),
    ("lanes.js", include_str!("page/lanes.js")),
    ("lists.js", include_str!("page/lists.js")),
    ("model.js", include_str!("page/model.js")),
    ("needs.js", include_str!("page/needs.js")),
    ("news.js", include_str!("page/news.js")),
    ("paint.js", include_str!("page/paint.js")),
    ("rows.css", include_str!("page/rows.css")),
    ("scale.js", include_str!("page/scale.js")),
    ("spans.js", include_str!("page/spans.js")),
    ("spantable.js", include_str!("page/spantable.js")),
    ("stream.js", include_str!("page/stream.js")),
    ("style.css", include_str!("page/style.css")),
    ("theme.css", include_str!("page/theme.css")),
    ("timeline.css", include_str!("page/timeline.css")),
    ("timeline.js", include_str!("page/timeline.js")),
    ("words.js", include_str!("page/words.js")),
];

/// Returns the page for one answer; its files are below `base`.
pub fn index(nonce: &str, base: &str) -> String {
    INDEX.replace("{nonce}", nonce).replace("{base}", base)
}

/// Returns the content of a file.
pub fn file(name: &str) -> Option<&'static str> {
    FILES.iter().find(|(known, _)| *known == name).map(|(_, content)| *content)
}

/// Returns the type of a file.
pub fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, end)| end) {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "text/plain; charset=utf-8",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_of_the_page_is_served_with_its_type() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/src/page");
        for entry in std::fs::read_dir(dir).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let known = name == "index.html" || file(&name).is_some();
            assert!(known, "{name} is in no line of the table");
            assert!(name == "index.html" || media_type(&name) != media_type(""), "{name}");
        }
    }

    #[test]
    fn the_page_loads_scripts_and_styles_by_its_nonce_only() {
        let page = index("n0nce", "/b4se/");
        assert!(!page.contains("{nonce}") && !page.contains("{base}"));
        for own in ["href=\"/", "src=\"/"] {
            let all = page.matches(own).count();
            assert_eq!(all, page.matches(&format!("{own}b4se/")).count(), "{own}");
        }
        for begin in ["<script", "<link rel=\"stylesheet\""] {
            let mut parts = page.split(begin);
            assert!(parts.next().is_some() && page.contains(begin), "{begin}");
            for rest in parts {
                let tag = rest.split('>').next().unwrap_or_default();
                assert!(tag.contains("nonce=\"n0nce\""), "{begin}{tag}>");
            }
        }
    }
}
