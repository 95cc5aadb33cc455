"""The report's style sheet: light and dark on screens, ink on A4."""

from __future__ import annotations

# Every rule begins with the report's class: a notebook's own tables stay as they are.
STYLE = """
.flops-report{--ink:#1d2329;--soft:#566069;--rule:#d5dade;--paper:#fff;--band:#f4f6f8;
color:var(--ink);background:var(--paper);max-width:820px;margin:0 auto;
padding:28px 32px;box-sizing:border-box;
font:15px/1.5 "Segoe UI","Helvetica Neue",Arial,"DejaVu Sans",sans-serif}
.flops-report *{box-sizing:border-box}
.flops-report h1{font-size:26px;line-height:1.2;margin:0 0 4px}
.flops-report header p{margin:0;color:var(--soft);overflow-wrap:anywhere}
.flops-report header{border-bottom:3px solid var(--ink);padding-bottom:12px}
.flops-report h2{font-size:20px;margin:34px 0 10px;border-bottom:1px solid var(--rule);
padding-bottom:4px}
.flops-report h3{font-size:16px;margin:22px 0 6px}
.flops-report p{margin:8px 0;overflow-wrap:anywhere}
.flops-report .note,.flops-report figcaption,.flops-report caption,
.flops-report footer{color:var(--soft);font-size:13px}
.flops-report .verdict{font-size:19px;font-weight:700;line-height:1.35;margin:12px 0;
padding:12px 16px;border-left:8px solid var(--verdict);background:var(--band)}
.flops-report figure{margin:16px 0}
.flops-report svg{display:block;overflow:visible;height:auto}
.flops-report figcaption{margin-top:6px}
.flops-report ul{margin:8px 0;padding-left:20px}
.flops-report li{margin:3px 0;overflow-wrap:anywhere}
.flops-report table{border-collapse:collapse;width:100%;margin:14px 0;
table-layout:fixed;font-size:14px}
.flops-report caption{text-align:left;padding-bottom:4px}
.flops-report th,.flops-report td{text-align:left;vertical-align:top;padding:6px 10px;
border:0 solid var(--rule);border-bottom-width:1px;background:transparent;
overflow-wrap:anywhere;white-space:normal;color:inherit}
.flops-report thead th{background:var(--band);font-size:13px;
border-bottom:2px solid var(--rule)}
.flops-report tbody th{font-weight:600}
.flops-report tbody tr{background:transparent}
.flops-report .line{display:block;margin-top:3px}
.flops-report th .line{font-weight:400;color:var(--soft);font-size:12.5px}
.flops-report .facts th:first-child{width:31%}
.flops-report .form th:nth-child(1){width:30%}
.flops-report .digests th:nth-child(1){width:14%}
.flops-report .digests td{font-family:ui-monospace,"DejaVu Sans Mono",monospace;
font-size:12px}
.flops-report .form caption,.flops-report .digests caption{position:absolute;
width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
.flops-report .group th{background:var(--band);font-size:13px;color:var(--soft)}
.flops-report .figures th:nth-child(1){width:46%}
.flops-report .figures th:nth-child(3),.flops-report .figures td:nth-child(3){
text-align:right;font-variant-numeric:tabular-nums}
.flops-report .runs{font-size:12.5px}
.flops-report .runs th,.flops-report .runs td{padding:6px}
.flops-report .runs thead th{font-size:12px}
.flops-report .runs th:nth-child(1){width:12.5%}
.flops-report .runs th:nth-child(2){width:17%}
.flops-report .runs th:nth-child(4),.flops-report .runs th:nth-child(5){width:12%}
.flops-report .runs th:nth-child(6){width:10.5%}
.flops-report .runs th:nth-child(7){width:24%}
.flops-report .runs td:nth-child(7){font-family:ui-monospace,"DejaVu Sans Mono",
monospace;font-size:11px}
.flops-report footer{margin-top:30px;border-top:1px solid var(--rule);padding-top:8px}
@media (prefers-color-scheme:dark){.flops-report{--ink:#e6e9ec;--soft:#a3adb6;
--rule:#3a434b;--paper:#14181c;--band:#1f262c;}}
@media print{.flops-report{--ink:#000;--soft:#444;--rule:#bbb;--paper:#fff;
--band:#f1f3f5;max-width:none;padding:0;font-size:9.5pt;line-height:1.35}
.flops-report *{print-color-adjust:exact;-webkit-print-color-adjust:exact}
.flops-report h1{font-size:18pt}
.flops-report h2{font-size:13.5pt;margin-top:0}
.flops-report h3{font-size:11pt;margin-top:9pt}
.flops-report h1{margin:0}
.flops-report header{padding-bottom:5pt}
.flops-report p{margin:4pt 0}
.flops-report table{font-size:8.5pt;margin:5pt 0;line-height:1.3}
.flops-report th,.flops-report td{padding:2.6pt 5pt}
.flops-report thead th,.flops-report .group th,.flops-report .note,
.flops-report figcaption,.flops-report caption,.flops-report footer{font-size:8pt}
.flops-report .line{margin-top:1.5pt}
.flops-report .runs,.flops-report .runs thead th{font-size:7.5pt}
.flops-report .runs td:nth-child(7){font-size:6.5pt}
.flops-report .digests td{font-size:8pt}
.flops-report figure{margin:4pt 0}
.flops-report .facts caption,.flops-report .runs caption{position:absolute;
width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
.flops-report figure svg{max-width:150mm}
.flops-report .verdict{font-size:12.5pt;padding:6pt 10pt;margin:6pt 0}
.flops-report .runs,.flops-report .digests{break-inside:avoid}
.flops-report .runs th,.flops-report .runs td{padding:1.5pt 4pt}
.flops-report .runs .line{margin-top:0;font-size:7pt}
.flops-report figure.gauge svg{max-width:none}
.flops-report .group{break-after:avoid}
.flops-report section.level-2:last-of-type{break-inside:avoid}
.flops-report ul{margin:3pt 0;padding-left:12pt}
.flops-report li{font-size:8.5pt;line-height:1.3;margin:1pt 0}
.flops-report figcaption{margin-top:1pt}
.flops-report h3{margin-bottom:2pt}
.flops-report header+.level-1 h2{margin-top:8pt}
.flops-report .level-1:not(header+.level-1){break-before:page}
.flops-report tr,.flops-report figure,.flops-report .verdict,.flops-report li{
break-inside:avoid}
.flops-report h2,.flops-report h3,.flops-report caption{break-after:avoid}
.flops-report thead{display:table-header-group}}
"""

PAGE_STYLE = """
@page{size:A4;margin:14mm 15mm 16mm}
@page{@bottom-right{content:counter(page) " / " counter(pages);font:8pt sans-serif}}
html{background:#e9ecef}
body{margin:0}
@media (prefers-color-scheme:dark){html{background:#0b0d0f}}
@media print{html{background:#fff}}
"""
